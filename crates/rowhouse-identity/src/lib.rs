//! Users, credentials, tokens, memberships, roles and invitations.
