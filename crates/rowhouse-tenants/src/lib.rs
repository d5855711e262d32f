//! The tenant registry, placements, provisioning and lifecycle.
