// PostGraphile 4 on the benchmark's rows: a process for each core, the tenant from a header, the
// role that Rowhouse's requests have, so that the same policy applies.
import cluster from 'node:cluster'
import http from 'node:http'
import os from 'node:os'
import pg from 'pg'
import { postgraphile } from 'postgraphile'

const cores = os.availableParallelism()

if (cluster.isPrimary) {
  for (let core = 0; core < cores; core += 1) cluster.fork()
  process.on('SIGTERM', () => process.exit(0))
} else {
  const pool = new pg.Pool({ max: Math.max(1, Math.floor(Number(process.env.CONNECTIONS) / cores)) })
  const handler = postgraphile(pool, 'app', {
    dynamicJson: true,
    disableQueryLog: true,
    graphiql: false,
    pgSettings: (request) => ({
      role: process.env.ROLE,
      'rowhouse.tenant_id': request.headers['x-tenant-id'] ?? '',
    }),
  })
  http.createServer(handler).listen(Number(process.env.PORT), '127.0.0.1')
}
