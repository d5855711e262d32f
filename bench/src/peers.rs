//! What Rowhouse is compared with, run as their own documents say: PostGraphile 4 (npm) and
//! django-tenants (Python), installed below the benchmark's directory by scripts/bench.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::fleet::copy_directory;
use crate::ground::{Ground, output};
use crate::http::Client;
use crate::installation::stop;
use crate::requests::GRAPHQL_LIST;

/// How long PostGraphile may take to read the schema.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running PostGraphile.
pub(crate) struct PostGraphile {
    child: Child,
    /// Where it listens.
    pub(crate) port: u16,
}

impl PostGraphile {
    /// Starts it on the rows of one database, acting as the role that requests of Rowhouse have.
    pub(crate) fn start(ground: &Ground, database: &str, role: &str, connections: u32) -> Result<Self> {
        let home = ground.directory.join("postgraphile");
        ensure!(home.join("node_modules").exists(), "PostGraphile is not installed; run scripts/bench");
        fs::copy("bench/postgraphile/serve.mjs", home.join("serve.mjs"))?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = ground
            .client("node", database)
            .arg("serve.mjs")
            .current_dir(&home)
            .env("PORT", port.to_string())
            .env("ROLE", role)
            .env("CONNECTIONS", connections.to_string())
            .env("NODE_ENV", "production")
            .stdin(Stdio::null())
            .spawn()
            .context("run node")?;
        let mut peer = Self { child, port };
        peer.wait_until_ready()?;
        Ok(peer)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let body = json!({ "query": GRAPHQL_LIST }).to_string();
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("PostGraphile ended by itself ({status})");
            }
            let answer = Client::connect(self.port).and_then(|mut client| client.send("POST", "/graphql", &[], &body));
            match answer {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => bail!("PostGraphile answered {}: {}", answer.status, answer.body),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        bail!("PostGraphile did not answer in {} s", START_TIMEOUT.as_secs())
    }
}

impl Drop for PostGraphile {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// A project of django-tenants with the same eight tables, in a database of its own.
pub(crate) struct Django<'a> {
    ground: &'a Ground,
    database: String,
    project: PathBuf,
}

impl<'a> Django<'a> {
    /// Makes the database and its public schema.
    pub(crate) fn new(ground: &'a Ground, database: &str) -> Result<Self> {
        let project = ground.directory.join("ground").join(database);
        copy_directory("bench/django".as_ref(), &project)?;
        ground.sql("postgres", &format!("create database {database}"))?;
        let django = Self { ground, database: database.to_owned(), project };
        django.manage(&["migrate_schemas", "--shared"])?;
        Ok(django)
    }

    fn manage(&self, arguments: &[&str]) -> Result<String> {
        let python = self.ground.directory.join("django/bin/python");
        ensure!(python.exists(), "django-tenants is not installed; run scripts/bench");
        let mut command = self.ground.client(python, &self.database);
        output(command.arg("manage.py").args(arguments).current_dir(&self.project))
    }

    /// Makes so many tenants and gives the milliseconds of each.
    pub(crate) fn create(&self, tenants: u32) -> Result<Vec<f64>> {
        let text = self.manage(&["create_tenants", &tenants.to_string()])?;
        let line = text.lines().last().context("create_tenants printed nothing")?;
        let times: Value = serde_json::from_str(line)?;
        let times = times.as_array().context("a list of times")?;
        times.iter().map(|time| time.as_f64().context("a time")).collect()
    }

    /// Writes a migration that adds one column.
    pub(crate) fn add_column(&self, number: u32) -> Result<()> {
        let before = if number == 1 { "0001_initial".to_owned() } else { format!("{number:04}_column") };
        let text = format!(
            "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n    \
             dependencies = [(\"shop\", \"{before}\")]\n    operations = [\n        migrations.AddField(\"order\", \
             \"reference_{number}\", models.TextField(default=\"\")),\n    ]\n"
        );
        fs::write(self.project.join(format!("shop/migrations/{:04}_column.py", number + 1)), text)?;
        Ok(())
    }

    /// Seconds of `migrate_schemas` over all tenants.
    pub(crate) fn migrate(&self) -> Result<f64> {
        let started = Instant::now();
        self.manage(&["migrate_schemas", "--tenant", "--executor=multiprocessing"])?;
        Ok(started.elapsed().as_secs_f64())
    }
}
