# The doors of the project, a line each. What is behind them is in scripts/.
.PHONY: help run app test test-matrix check fmt bench bench-large clean-data

help: ; @echo "make ..." && sed -n 's/^\([a-z-]*\): ;.*## /  \1\t/p' Makefile | expand -t 16  ## List these targets
run: ; @scripts/run  ## Serve apps/solar with demo tenants on a PostgreSQL of its own (APP=apps/garage: another app)
app: ; @scripts/app  ## Check an app on a scratch database and describe it (APP=apps/garage)
test: ; @scripts/test  ## All tests on real PostgreSQL, formatting, lints, licences; installs what they need
test-matrix: ; @scripts/postgres-matrix  ## The database-facing tests on PostgreSQL 16 and 18 too
check: ; @scripts/check  ## The quick loop: formatting, lints, licences, fast tests
fmt: ; @cargo fmt --all  ## Format the Rust code
bench: ; @scripts/bench  ## Measure side by side with PostgreSQL, PostGraphile and django-tenants (20 minutes)
bench-large: ; @scripts/bench large  ## Memory and start-up with 10, 1,000 and 10,000 schema tenants (hours)
clean-data: ; @scripts/clean  ## Delete what make run keeps: the embedded PostgreSQL and its rows
