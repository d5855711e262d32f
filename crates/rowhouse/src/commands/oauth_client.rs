//! `rowhouse oauth-client …`

use std::process::ExitCode;

use rowhouse_audit::Actor;
use rowhouse_identity::KeyAlgorithm;
use rowhouse_openid::{ClientPage, NewClient, OpenId, OpenIdError};
use rowhouse_types::{ApiError, ClientId, ErrorCode};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::cli::OauthClientCommand;
use crate::compose::Ground;
use crate::output::{Output, table};
use crate::settings::Settings;

pub(super) async fn run(command: OauthClientCommand, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    if settings.clerk.is_some() {
        anyhow::bail!("people sign in with Clerk here, so other programs sign them in with Clerk too");
    }
    let ground = Ground::open(settings, "rowhouse oauth-client").await?;
    let outcome = open_and_dispatch(command, &ground, settings, output).await;
    ground.close().await;
    outcome
}

async fn open_and_dispatch(
    command: OauthClientCommand,
    ground: &Ground,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let (identity, audit) = ground.identity(settings, "OpenID clients").await?;
    let openid = ground.openid(settings, &identity, &audit);
    dispatch(command, &openid, output).await?;
    Ok(ExitCode::SUCCESS)
}

async fn dispatch(command: OauthClientCommand, openid: &OpenId, output: Output) -> anyhow::Result<()> {
    let actor = Actor::system();
    match command {
        OauthClientCommand::Create {
            name,
            redirect_uris,
            post_logout_redirect_uris,
            scopes,
            id_token_algorithm,
            public,
            first_party,
        } => {
            let new = NewClient {
                name,
                public,
                redirect_uris,
                post_logout_redirect_uris,
                scopes: Some(scopes),
                id_token_algorithm: Some(KeyAlgorithm::from(id_token_algorithm).as_str().to_owned()),
                first_party,
            };
            create(openid, &actor, &new, output).await?;
        }
        OauthClientCommand::List { limit } => list(openid, limit, output).await?,
        OauthClientCommand::RotateSecret { client, overlap } => {
            let id = read_id(&client)?;
            let made = openid.rotate_client_secret(&actor, id, overlap).await.map_err(|error| told(error, &client))?;
            let secret = made.expose_secret();
            output.result(&json!({ "id": id, "secret": secret }), || format!("secret {secret}   (shown this once)"));
        }
        OauthClientCommand::Delete { client } => {
            let id = read_id(&client)?;
            openid.delete_client(&actor, id).await.map_err(|error| told(error, &client))?;
            output.result(&json!({ "id": id }), || format!("removed {id}"));
        }
    }
    Ok(())
}

async fn create(openid: &OpenId, actor: &Actor, new: &NewClient, output: Output) -> anyhow::Result<()> {
    let made = openid.create_client(actor, new).await.map_err(|error| told(error, ""))?;
    let secret = made.secret.as_ref().map(|secret| secret.expose_secret());
    let mut data = serde_json::to_value(&made.client)?;
    data["secret"] = json!(secret);
    let id = made.client.id;
    output.result(&data, || match secret {
        Some(secret) => format!("client_id {id}\nclient_secret {secret}   (shown this once)"),
        None => format!("client_id {id}"),
    });
    Ok(())
}

async fn list(openid: &OpenId, limit: u32, output: Output) -> anyhow::Result<()> {
    let page = ClientPage { before: None, limit: Some(limit) };
    let clients = openid.clients(&page).await.map_err(ApiError::from)?;
    output.result(&json!(clients), || {
        let rows = clients.iter().map(|client| {
            let kind = if client.public { "public" } else { "confidential" };
            let cells = [client.id.to_string(), client.name.clone(), kind.to_owned(), client.scopes.join(" ")];
            cells.into_iter().chain([client.redirect_uris.join(" ")]).collect()
        });
        table(&["CLIENT", "NAME", "KIND", "SCOPES", "REDIRECT URIS"], rows)
    });
    Ok(())
}

fn read_id(client: &str) -> Result<ClientId, ApiError> {
    client.parse().map_err(|_| unknown(client))
}

fn told(error: OpenIdError, client: &str) -> ApiError {
    match error {
        OpenIdError::NotFound => unknown(client),
        OpenIdError::Field { .. } => ApiError::new(ErrorCode::ValidationFailed, error.to_string()),
        error => error.into(),
    }
}

fn unknown(client: &str) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!("there is no client {client} with a secret; see rowhouse oauth-client list"),
    )
}
