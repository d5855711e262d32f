//! `rowhouse keys …`

use std::process::ExitCode;

use rowhouse_audit::Actor;
use rowhouse_identity::{Identity, IdentityError, KeyAlgorithm, KeyOut, KeyState};
use rowhouse_types::{ApiError, ErrorCode, KeyId};
use serde_json::json;

use crate::cli::{KeyAlgorithmArg, KeysCommand};
use crate::compose::Ground;
use crate::output::{Output, table};
use crate::settings::Settings;

pub(super) async fn run(command: KeysCommand, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let ground = Ground::open(settings, "rowhouse keys").await?;
    let outcome = dispatch(command, &ground, settings, output).await;
    ground.close().await;
    outcome
}

async fn dispatch(
    command: KeysCommand,
    ground: &Ground,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let (identity, _) = ground.identity(settings, "signing keys").await?;
    match command {
        KeysCommand::List => list(&identity, output).await?,
        KeysCommand::Rotate { algorithm } => rotate(&identity, algorithm, output).await?,
        KeysCommand::Retire { key, now } => retire(&identity, &key, now, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(identity: &Identity, output: Output) -> anyhow::Result<()> {
    let keys = identity.signing_keys().await.map_err(ApiError::from)?;
    output.result(&json!(keys), || {
        let rows = keys.iter().map(|key| {
            let ends = key.retires_at.map_or_else(String::new, |at| at.to_rfc3339());
            vec![
                key.id.to_string(),
                key.algorithm.clone(),
                key.state.as_str().to_owned(),
                key.signs_from.to_rfc3339(),
                ends,
            ]
        });
        table(&["KEY", "ALGORITHM", "STATE", "SIGNS FROM", "ENDS"], rows)
    });
    Ok(())
}

async fn rotate(identity: &Identity, algorithm: Option<KeyAlgorithmArg>, output: Output) -> anyhow::Result<()> {
    let algorithms = match algorithm {
        Some(algorithm) => vec![algorithm.into()],
        None => KeyAlgorithm::ALL.to_vec(),
    };
    let made = identity.rotate_keys(&Actor::system(), &algorithms).await.map_err(ApiError::from)?;
    let data: Vec<_> = made.iter().map(|(id, signs_from)| json!({ "id": id, "signs_from": signs_from })).collect();
    output.result(&json!(data), || {
        let lines =
            made.iter().map(|(id, from)| format!("key {id} is published, and signs from {}", from.to_rfc3339()));
        lines.collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

async fn retire(identity: &Identity, key: &str, now: bool, output: Output) -> anyhow::Result<()> {
    let id: KeyId = key.parse().map_err(|_| unknown(key))?;
    if !now {
        return tell_end(identity, id, output).await;
    }
    let retired = identity.retire_key(&Actor::system(), id).await.map_err(|error| match error {
        IdentityError::NotFound => unknown(key),
        error => error.into(),
    })?;
    output.result(&json!(retired), || match retired.successor {
        Some(successor) => {
            format!("key {id} is retired: its tokens are refused within a second; {successor} signs now")
        }
        None => format!("key {id} is retired: its tokens are refused within a second"),
    });
    Ok(())
}

/// In order keys end by themselves: there is nothing to do but to say when.
async fn tell_end(identity: &Identity, id: KeyId, output: Output) -> anyhow::Result<()> {
    let keys = identity.signing_keys().await.map_err(ApiError::from)?;
    let found = keys.iter().find(|key| key.id == id).ok_or_else(|| unknown(&id.to_string()))?;
    let KeyOut { state, retires_at, .. } = found;
    match (state, retires_at) {
        (KeyState::Retired, _) => output.result(&json!(found), || format!("key {id} is retired")),
        (_, Some(at)) => output.result(&json!(found), || {
            format!("key {id} retires by itself at {}, when the last of its tokens has ended", at.to_rfc3339())
        }),
        (_, None) => {
            let hint = "make another first (rowhouse keys rotate), and it retires by itself when its last token has \
                        ended; or use --now if it is compromised, which ends its tokens at once";
            return Err(ApiError::new(ErrorCode::Conflict, format!("nothing takes the place of {id}: {hint}")).into());
        }
    }
    Ok(())
}

fn unknown(key: &str) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no signing key {key} that is alive; see rowhouse keys list"))
}
