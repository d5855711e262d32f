-- Sends requests that were written out beforehand, chosen at random: choosing is all that costs
-- the load generator time. Prints one line of figures for the benchmark.

local threads = 0

function setup(thread)
   threads = threads + 1
   thread:set("seed", threads)
end

function init(arguments)
   math.randomseed(seed * 7919)
   local file = assert(io.open(arguments[1], "rb"))
   local text = file:read("*a")
   file:close()
   requests = {}
   for one in (text .. "\0"):gmatch("(.-)%z") do
      requests[#requests + 1] = one
   end
end

function request()
   return requests[math.random(#requests)]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      "RESULT %d %d %d %d %d\n",
      summary.requests, summary.duration, latency.mean, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout))
end
