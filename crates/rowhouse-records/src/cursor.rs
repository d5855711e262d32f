//! Cursors: opaque, signed, and bound to the tenant, the caller's scope, the entity, the filters
//! and the sort. One that was made for another list is refused.

use rowhouse_types::{ApiError, Signer, TenantId};
use serde::{Deserialize, Serialize};

/// What a cursor carries.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    /// The list it belongs to.
    list: String,
    /// The last record's values in the order of the sort.
    after: Vec<Option<String>>,
}

/// Makes the cursor that reads on after a record.
pub(crate) fn make(signer: &Signer, list: &str, after: Vec<Option<String>>) -> String {
    let payload = Payload { list: list.to_owned(), after };
    signer.sign(&serde_json::to_vec(&payload).expect("texts are always JSON"))
}

/// The values of a cursor, if it was made for this list.
///
/// # Errors
/// 400, the same for every reason.
pub(crate) fn read(signer: &Signer, list: &str, cursor: &str, columns: usize) -> Result<Vec<Option<String>>, ApiError> {
    let refused = || {
        ApiError::invalid(
            "cursor: does not belong to this list. Begin again without it, with the same filters and sort on each page.",
        )
    };
    let payload = signer.verify(cursor).ok_or_else(refused)?;
    let payload: Payload = serde_json::from_slice(&payload).map_err(|_| refused())?;
    if payload.list != list || payload.after.len() != columns {
        return Err(refused());
    }
    Ok(payload.after)
}

/// The identity of a list: its statement (which holds the entity, the filters' shapes, the scope
/// and the sort), the tenant, and the filters' values.
pub(crate) fn list_identity(tenant: TenantId, statement: &str, values: &[String]) -> String {
    use std::hash::{Hash as _, Hasher as _};
    // The signature protects the cursor; this only tells lists apart.
    let mut hasher = std::hash::DefaultHasher::new();
    (statement, values).hash(&mut hasher);
    format!("{tenant}:{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rowhouse_types::MasterKey;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_by_its_own_list_only(
            list in any::<String>(), other in any::<String>(), text in any::<String>(),
            after in proptest::collection::vec(any::<Option<String>>(), 0..4),
        ) {
            let signer = MasterKey::generate().signer("cursor");
            let columns = after.len();
            let cursor = make(&signer, &list, after.clone());
            prop_assert_eq!(read(&signer, &list, &cursor, columns).unwrap(), after);
            prop_assert!(read(&signer, &list, &cursor, columns + 1).is_err());
            prop_assert!(list == other || read(&signer, &other, &cursor, columns).is_err());
            prop_assert!(read(&MasterKey::generate().signer("cursor"), &list, &cursor, columns).is_err());
            prop_assert!(read(&signer, &list, &text, columns).is_err());
        }

        #[test]
        fn what_is_signed_and_no_cursor_is_refused(payload in any::<Vec<u8>>()) {
            let signer = MasterKey::generate().signer("cursor");
            prop_assert!(read(&signer, "list", &signer.sign(&payload), 1).is_err());
        }
    }
}
