//! The words every crate shares: ids, slugs, addresses, permissions, errors, pages, sealed
//! secrets. Everything here is parsed once at the edge and cannot be wrong afterwards.
//!
//! **Invariant:** no I/O, no clock but for new ids, no dependency on another Rowhouse crate.

mod email;
mod error;
mod id;
mod key;
mod page;
mod permission;
mod slug;
mod suggest;

pub use email::{EmailAddress, EmailError};
pub use error::{ApiError, ErrorCode, FieldError, Result};
pub use id::{ClientId, DeviceId, GrantId, InvitationId, KeyId, PasskeyId, SagaId, SessionId, TenantId, UserId};
pub use key::{MasterKey, SealError, Signer};
pub use page::{PER_PAGE_DEFAULT, PER_PAGE_MAX, Pagination};
pub use permission::{Action, Grants, Permission, PermissionError, RoleKey, Scope};
pub use slug::{RESERVED_SLUGS, Slug, SlugError};
pub use suggest::{did_you_mean, nearest};
