//! `rowhouse serve` and `rowhouse dev`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rowhouse_identity::Identity;
use rowhouse_mail::Mailer;
use rowhouse_server::KEPT_MAILS_PATH;
use rowhouse_tenants::DemoTenant;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::compose::{Rowhouse, load_app};
use crate::local::{Lock, prepare_data_dir, remember_public_url};
use crate::output::Output;
use crate::settings::Settings;

/// The demo people's password. They exist on development machines only.
const DEMO_PASSWORD: &str = "correct-horse-battery";
/// How often what is counted no more is removed.
const FORGET_EVERY: Duration = Duration::from_secs(15 * 60);
/// How often it is looked whom to remind: a day's notice is given to the hour.
const REMIND_EVERY: Duration = Duration::from_secs(60 * 60);

pub(super) async fn serve(settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    run(settings, output, None).await
}

pub(super) async fn dev(settings: &Settings, output: Output, rows: u32) -> anyhow::Result<ExitCode> {
    run(settings, output, Some(rows)).await
}

async fn run(settings: &Settings, output: Output, demo_rows: Option<u32>) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let app = load_app(settings)?;
    let data_dir = prepare_data_dir(&settings.data_dir)?;
    let _lock = match Lock::take(&data_dir.join("serve.lock"), "rowhouse serve")? {
        Ok(lock) => lock,
        Err(held) => bail!(
            "the data directory {} is served already by {held}; stop it, or use another --data-dir",
            data_dir.display()
        ),
    };
    // Before anything is started: a port that is taken should cost no time.
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}; choose another address with --listen", settings.listen))?;
    let settings = &Settings { development: demo_rows.is_some(), ..named_after(settings, &listener)? };
    remember_public_url(&data_dir, &settings.public_url)?;
    rowhouse_server::install_metrics();
    tokio::spawn(rowhouse_server::sum_up_metrics());
    let stop = stop_signal()?;
    // A signal may come while it starts: the start ends where it is, and the next one goes on.
    let rowhouse = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
        opened = Rowhouse::open(settings, app, "rowhouse serve") => opened?,
    };
    let outcome = serve_until(&rowhouse, listener, settings, output, demo_rows, started, &stop).await;
    output.message("stopping");
    rowhouse.close().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Port 0 asks the system for a free one; links and tokens must carry the one it gave.
fn named_after(settings: &Settings, listener: &TcpListener) -> anyhow::Result<Settings> {
    let mut settings = settings.clone();
    if settings.listen.port() == 0 {
        let port = listener.local_addr()?.port();
        settings.public_url = settings.public_url.replace(":0", &format!(":{port}"));
    }
    Ok(settings)
}

async fn serve_until(
    rowhouse: &Rowhouse,
    listener: TcpListener,
    settings: &Settings,
    output: Output,
    demo_rows: Option<u32>,
    started: Instant,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let demo = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        ready = make_ready(rowhouse, output, demo_rows) => ready?,
    };
    let background = tokio::spawn(rowhouse.tenants.clone().run_background());
    let forgetting = tokio::spawn(forget_attempts(rowhouse.identity.clone()));
    let reminding = tokio::spawn(remind_of_mfa(rowhouse.identity.clone()));
    let mails = tokio::spawn(send_mails(rowhouse.mailer.clone(), stop.clone()));
    let state = rowhouse.server_state(settings);
    if let Some(address) = settings.metrics_listen {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} for metrics"))?;
        let router = rowhouse_server::metrics_router(state.clone());
        tokio::spawn(rowhouse_server::serve(listener, router, stop.clone()));
    }
    announce(rowhouse, settings, output, &demo, started).await?;
    let served = rowhouse_server::serve(listener, rowhouse_server::router(state), stop.clone()).await;
    background.abort();
    forgetting.abort();
    reminding.abort();
    // Served to its end, or failed: either way nothing more is to be sent.
    stop.cancel();
    if let Err(error) = mails.await {
        tracing::error!(%error, "send mails");
    }
    Ok(served?)
}

/// All that must be so before the first request. Dropped midway it leaves nothing that the next
/// start does not bring to its end.
async fn make_ready(rowhouse: &Rowhouse, output: Output, demo_rows: Option<u32>) -> anyhow::Result<Vec<DemoTenant>> {
    prove_isolation(rowhouse).await?;
    bring_forward(rowhouse, output).await?;
    match demo_rows {
        Some(rows) => Ok(rowhouse.tenants.ensure_demo(DEMO_PASSWORD, rows).await?),
        None => Ok(Vec::new()),
    }
}

/// Nothing is served before two tenants have been shown not to see each other on this server.
async fn prove_isolation(rowhouse: &Rowhouse) -> anyhow::Result<()> {
    let ground = &rowhouse.ground;
    let location = ground.databases.pool_location();
    let (tenants, systems) = (&ground.authorities.tenant, &ground.authorities.system);
    let findings = rowhouse_postgres::probe(&ground.databases, tenants, systems, &location).await?;
    if findings.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> =
        findings.iter().map(|finding| format!("  {}: {}", finding.code, finding.message)).collect();
    bail!("the isolation probe failed on this server, so nothing is served:\n{}", lines.join("\n"))
}

/// Interrupted operations first, then every target that is behind.
async fn bring_forward(rowhouse: &Rowhouse, output: Output) -> anyhow::Result<()> {
    rowhouse.tenants.resume_operations().await?;
    if rowhouse.tenants.targets_behind().await? == 0 {
        return Ok(());
    }
    let report = rowhouse.tenants.migrate_up(8, &|_| {}).await?;
    output.message(&format!("migrated {} targets to {}", report.migrated, rowhouse.tenants.app().release()));
    for (target, error) in &report.failed {
        tracing::error!(%target, %error, "a target could not be migrated; its tenant is served as it is");
    }
    Ok(())
}

/// Keeps the count of attempts small, until it is aborted.
async fn forget_attempts(identity: Arc<Identity>) {
    let mut turns = tokio::time::interval(FORGET_EVERY);
    loop {
        turns.tick().await;
        if let Err(error) = identity.forget_attempts().await {
            tracing::warn!(%error, "forget old attempts");
        }
    }
}

/// Writes to whom a second factor will soon be demanded of, until it is aborted.
async fn remind_of_mfa(identity: Arc<Identity>) {
    let mut turns = tokio::time::interval(REMIND_EVERY);
    loop {
        turns.tick().await;
        match identity.remind_of_mfa().await {
            Ok(0) => {}
            Ok(mails) => tracing::info!(mails, "reminded members of a second factor"),
            Err(error) => tracing::warn!(%error, "remind members of a second factor"),
        }
    }
}

/// Sends mails until the end. A server that cannot be used is told now, and not when the first
/// person waits for a mail.
async fn send_mails(mailer: Mailer, stop: CancellationToken) {
    let checked = tokio::select! { () = stop.cancelled() => return, checked = mailer.check() => checked };
    match checked {
        Ok(message) => tracing::info!(message),
        Err(error) => tracing::warn!(error, "mails cannot be sent now; they wait"),
    }
    mailer.run_worker(stop.cancelled()).await;
}

/// Ctrl-C or SIGTERM; a second one ends at once.
#[expect(clippy::disallowed_methods, reason = "the second signal says not to wait for anything")]
fn stop_signal() -> std::io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        cancelled.cancel();
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        // Everything that matters is in the database; the server dies with its parent.
        std::process::exit(130);
    });
    Ok(stop)
}

async fn announce(
    rowhouse: &Rowhouse,
    settings: &Settings,
    output: Output,
    demo: &[DemoTenant],
    started: Instant,
) -> anyhow::Result<()> {
    let app = rowhouse.tenants.app();
    let url = &settings.public_url;
    let seconds = started.elapsed().as_secs_f64();
    let ready = format!("{} {} is ready on {url} ({seconds:.1} s)", app.manifest.app.title, app.release());
    if output.json {
        let tenants: Vec<_> =
            demo.iter().map(|demo| json!({ "slug": demo.tenant.slug, "email": demo.email })).collect();
        output.result(&json!({ "url": url, "release": app.release(), "tenants": tenants }), String::new);
        return Ok(());
    }
    output.message(&ready);
    if rowhouse.kept_mails(settings).is_some() {
        output.message(&format!("Mails are shown at {url}{KEPT_MAILS_PATH}"));
    }
    if settings.clerk.is_some() {
        output.message("People sign in with Clerk; its webhooks go to /api/webhooks/clerk.");
    } else if let [first, second, ..] = demo {
        output.message(&tour(rowhouse, url, demo, first, second).await?);
    }
    Ok(())
}

/// Who can sign in, and three commands that show the data API and a refusal.
async fn tour(
    rowhouse: &Rowhouse,
    url: &str,
    demo: &[DemoTenant],
    first: &DemoTenant,
    second: &DemoTenant,
) -> anyhow::Result<String> {
    let model = rowhouse.tenants.model();
    let entity = model.entities.values().find(|entity| !entity.read_only && entity.title.is_some());
    let entity = entity.or_else(|| model.entities.values().next()).map_or("records", |entity| entity.name.as_str());
    let mut text = String::from("\nTenants, one in each placement (password of all: ");
    text.push_str(DEMO_PASSWORD);
    text.push_str(")\n");
    for demo in demo {
        let (slug, placement) = (demo.tenant.slug.as_str(), demo.tenant.placement.as_str());
        text.push_str(&format!("  {slug:<10} {placement:<10} {}\n", demo.email));
    }
    let foreign = a_record(rowhouse, second, entity).await?.unwrap_or_else(|| second.tenant.id.to_string());
    text.push_str(&format!(
        "\nTry it: sign in to {slug}, read its {entity}, then try to read a record of {other}.\n\n  \
         TOKEN=$(curl -s {url}/api/auth/sign-in -H 'content-type: application/json' \\\n    \
         -d '{{\"email\":\"{email}\",\"password\":\"{DEMO_PASSWORD}\"}}' | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n\n  \
         curl -s \"{url}/api/{entity}?per_page=2\" -H \"authorization: Bearer $TOKEN\"\n\n  \
         curl -s {url}/api/{entity}/{foreign} -H \"authorization: Bearer $TOKEN\"     # of {other}: 404\n\n\
         Ctrl-C stops everything; the data stays.",
        slug = first.tenant.slug,
        other = second.tenant.slug,
        email = first.email,
    ));
    Ok(text)
}

/// The id of some record of a tenant.
async fn a_record(rowhouse: &Rowhouse, demo: &DemoTenant, entity: &str) -> anyhow::Result<Option<String>> {
    let ground = &rowhouse.ground;
    let connection = ground.databases.tenant(&demo.tenant.context(&ground.authorities.tenant)).await?;
    let (schema, table) =
        (rowhouse_postgres::quote_identifier(connection.schema()), rowhouse_postgres::quote_identifier(entity));
    let rows = connection.run(&format!("select id::text from {schema}.{table} order by id limit 1"), &[]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}
