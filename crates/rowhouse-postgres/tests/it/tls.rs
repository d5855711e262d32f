//! TLS to a server of the operator's own, in each of libpq's modes.

use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rowhouse_postgres::{ClusterSettings, Databases, ManagedServer, RoleNames, bootstrap};
use rowhouse_types::MasterKey;
use tempfile::TempDir;

/// What a test's server does with connections over a network.
enum Takes {
    /// TLS only, with this certificate (its key beside it).
    Tls { certificate: &'static str },
    /// No TLS.
    Plain,
}

/// A server that listens on two addresses of this machine; its certificate is for the first.
struct Town {
    server: Option<ManagedServer>,
    directory: TempDir,
    host: Ipv4Addr,
    other_host: Ipv4Addr,
    master_key: MasterKey,
}

impl Town {
    fn start(number: u8, takes: &Takes) -> Self {
        let directory = tempfile::Builder::new().prefix("rht").tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        // The port is PostgreSQL's own, so the addresses are this process's.
        let [high, low] = u16::try_from(std::process::id() % 0xffff).unwrap().to_be_bytes();
        let (host, other_host) =
            (Ipv4Addr::new(127, high, low, 2 * number), Ipv4Addr::new(127, high, low, 2 * number + 1));
        let mut town = Self { server: None, directory, host, other_host, master_key: MasterKey::generate() };
        // Made first: its files are laid into what stands.
        town.run(&[]);
        town.server = None;
        town.certify();
        let data = town.path().join("postgres/data");
        let rule = if matches!(takes, Takes::Tls { .. }) { "hostssl" } else { "host" };
        let rules = format!("local all all scram-sha-256\n{rule} all all all scram-sha-256\n");
        std::fs::write(data.join("pg_hba.conf"), rules).unwrap();
        match takes {
            Takes::Plain => town.run(&[]),
            Takes::Tls { certificate } => {
                let owner = std::fs::metadata(&data).unwrap();
                let [certificate, key] = ["crt", "key"].map(|kind| {
                    let file = data.join(format!("server.{kind}"));
                    std::fs::copy(town.file(&format!("{certificate}.{kind}")), &file).unwrap();
                    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
                    chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
                    file.display().to_string()
                });
                town.run(&[("ssl", "on"), ("ssl_cert_file", &certificate), ("ssl_key_file", &key)]);
            }
        }
        town
    }

    fn run(&mut self, tuning: &[(&str, &str)]) {
        let listen = format!("{},{}", self.host, self.other_host);
        let tuning = [&[("listen_addresses", listen.as_str()), ("fsync", "off")], tuning].concat();
        // The distributions' builds know TLS; others need not.
        let named = std::env::var_os("ROWHOUSE_PG_BIN").map(PathBuf::from);
        let server = ManagedServer::start(self.path(), None, &tuning)
            .or_else(|_| ManagedServer::start(self.path(), named.as_deref(), &tuning));
        self.server = Some(server.unwrap());
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// `own`: self-signed, as PostgreSQL's documentation makes it; `signed`: by `root`; `foreign`:
    /// self-signed, and nobody's.
    fn certify(&self) {
        let name = format!("subjectAltName=IP:{}", self.host);
        let new = ["req", "-new", "-x509", "-nodes", "-days", "2", "-newkey", "rsa:2048"];
        for (file, subject) in [("own", "/CN=own"), ("root", "/CN=root"), ("foreign", "/CN=foreign")] {
            let [key, certificate] =
                ["key", "crt"].map(|kind| self.file(&format!("{file}.{kind}")).display().to_string());
            openssl(&[&new[..], &["-subj", subject, "-addext", &name, "-keyout", &key, "-out", &certificate]].concat());
        }
        let [key, certificate, root, root_key] =
            ["signed.key", "signed.crt", "root.crt", "root.key"].map(|file| self.file(file).display().to_string());
        let authority = ["-CA", &root, "-CAkey", &root_key, "-addext", "basicConstraints=critical,CA:FALSE"];
        let signed = ["-subj", "/CN=signed", "-addext", &name, "-keyout", &key, "-out", &certificate];
        openssl(&[&new[..], &signed, &authority].concat());
    }

    fn url(&self, host: Ipv4Addr, query: &str) -> String {
        let password = std::fs::read_to_string(self.file("postgres/superuser.password")).unwrap();
        let query = query.replace("{d}", &self.path().display().to_string());
        format!("postgresql://postgres:{}@{host}/postgres?{query}", password.trim())
    }

    /// Connects by a URL with these words. Gives whether TLS is used.
    async fn connect_to(&self, host: Ipv4Addr, query: &str) -> Result<bool, String> {
        const TLS: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        let url = self.url(host, query);
        let settings = ClusterSettings::from_url(&url, RoleNames::new("rowhouse"), self.master_key.clone())?;
        bootstrap(&settings).await.map_err(|error| error.to_string())?;
        let (databases, authorities) = Databases::open(settings);
        let connection =
            databases.control(&authorities.system.scope("test")).await.map_err(|error| error.to_string())?;
        let owner: bool = connection.query_opt(TLS, &[]).await.unwrap().unwrap().get(0);
        let location = databases.pool_location();
        let context = authorities.tenant.context(rowhouse_types::TenantId::generate(), location);
        let tenant = databases.tenant(&context).await.map_err(|error| error.to_string())?;
        let service: bool = tenant.run(TLS, &[]).await.unwrap()[0].get(0);
        assert_eq!(owner, service, "both roles are secured alike");
        databases.shut_down();
        Ok(owner)
    }

    async fn connect(&self, query: &str) -> Result<bool, String> {
        self.connect_to(self.host, query).await
    }

    /// What is told of a refusal.
    async fn refused(&self, query: &str) -> String {
        self.connect(query).await.expect_err(query)
    }
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl runs; it comes with PostgreSQL");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_certificate_of_its_own_that_refuses_plain_connections() {
    let town = Town::start(1, &Takes::Tls { certificate: "own" });
    let refused = town.refused("sslmode=disable").await;
    assert!(refused.contains("takes no plain connection") && refused.contains("use require"), "{refused}");
    let own = "sslrootcert={d}/own.crt";
    for query in ["", "sslmode=prefer", "sslmode=require", &format!("sslmode=require&{own}")] {
        assert_eq!(town.connect(query).await, Ok(true), "{query}");
    }
    for mode in ["verify-ca", "verify-full"] {
        assert_eq!(town.connect(&format!("sslmode={mode}&{own}")).await, Ok(true), "{mode}");
        let refused = town.refused(&format!("sslmode={mode}&sslrootcert={{d}}/foreign.crt")).await;
        assert!(refused.contains("no certificate in sslrootcert vouches for"), "{refused}");
        let refused = town.refused(&format!("sslmode={mode}")).await;
        assert!(refused.contains("name their file with sslrootcert=FILE"), "{refused}");
    }
    // As in libpq: root certificates are looked at wherever there are some.
    let refused = town.refused("sslmode=require&sslrootcert={d}/foreign.crt").await;
    assert!(refused.contains("no certificate in sslrootcert vouches for"), "{refused}");
    let refused = town.refused("sslrootcert=system").await;
    assert!(refused.contains("vouches for") || refused.contains("root certificates"), "{refused}");
    // Under a name that is not in the certificate.
    assert_eq!(town.connect_to(town.other_host, &format!("sslmode=verify-ca&{own}")).await, Ok(true));
    let refused = town.connect_to(town.other_host, &format!("sslmode=verify-full&{own}")).await.unwrap_err();
    assert!(
        refused.contains(&format!("is not for {}, which sslmode=verify-full demands", town.other_host)),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_certificate_an_authority_has_signed() {
    let town = Town::start(2, &Takes::Tls { certificate: "signed" });
    for mode in ["require", "verify-ca", "verify-full"] {
        assert_eq!(town.connect(&format!("sslmode={mode}&sslrootcert={{d}}/root.crt")).await, Ok(true), "{mode}");
        let refused = town.refused(&format!("sslmode={mode}&sslrootcert={{d}}/own.crt")).await;
        assert!(refused.contains("no certificate in sslrootcert vouches for"), "{refused}");
    }
    assert_eq!(town.connect_to(town.other_host, "sslmode=verify-ca&sslrootcert={d}/root.crt").await, Ok(true));
    let refused = town.connect_to(town.other_host, "sslmode=verify-full&sslrootcert={d}/root.crt").await.unwrap_err();
    assert!(refused.contains("is not for"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_where_it_is_demanded() {
    let town = Town::start(3, &Takes::Plain);
    for query in ["", "sslmode=prefer", "sslmode=disable"] {
        assert_eq!(town.connect(query).await, Ok(false), "{query}");
    }
    for query in ["sslmode=require", "sslmode=verify-full&sslrootcert={d}/own.crt"] {
        let refused = town.refused(query).await;
        assert!(refused.contains("the server offers no TLS, which sslmode="), "{refused}");
    }
}
