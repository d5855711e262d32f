//! What is known of a person, and so is guessed first: their address, names and organisations.

use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::UserId;

use crate::error::IdentityError;

/// The person's own words, which make a password weak.
pub(crate) async fn own_words(connection: &SystemConnection, user: UserId) -> Result<Vec<String>, IdentityError> {
    const WORDS: &str = "
        select array[u.email, u.first_name, u.last_name]
               || array(select t.name from control.memberships m join control.tenants t on t.id = m.tenant_id
                        where m.user_id = u.id order by m.joined_at limit 5)
        from control.users u where u.id = $1";
    let row = connection.query_opt(WORDS, params![user]).await?;
    Ok(row.map(|row| row.get(0)).unwrap_or_default())
}
