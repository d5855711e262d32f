//! Audit log, security events and the alerts raised from them.
