//! Sagas: multi-step operations that are recorded, idempotent, resumable and compensated.
