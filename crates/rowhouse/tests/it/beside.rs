//! A session with a database beside the program under test: it holds locks, so that a test can stop
//! the program in the middle of its work without waiting for a time, and looks at what is there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::service::rowhouse;

/// Who waits: the platform at its own work, or a tenant's request.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    Owner,
    Service,
}

/// A session with a database.
pub(crate) struct Session {
    child: Child,
    sql: ChildStdin,
    rows: BufReader<ChildStdout>,
}

impl Session {
    pub(crate) fn open(data_dir: &Path, database: &str) -> Self {
        let mut command = rowhouse(data_dir);
        command.args(["db", "psql", "--", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", database]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sql, rows) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, sql, rows }
    }

    /// The rows that a statement gives.
    pub(crate) fn ask(&mut self, sql: &str) -> Vec<String> {
        writeln!(self.sql, "{sql}; select 'answered';").unwrap();
        self.sql.flush().unwrap();
        let mut rows = Vec::new();
        loop {
            let mut row = String::new();
            assert!(self.rows.read_line(&mut row).unwrap() > 0, "the session ended at {sql}");
            match row.trim_end() {
                "answered" => return rows,
                row => rows.push(row.to_owned()),
            }
        }
    }

    /// Waits until so many sessions of a role wait for a lock. The owner also works in the background.
    pub(crate) fn until_waiting(&mut self, role: Role, sessions: usize) {
        let waiting = format!(
            "do 'begin perform pg_stat_clear_snapshot(); end'; select count(*) from pg_locks join pg_stat_activity using (pid)
             where not granted and usename = '{}'",
            match role {
                Role::Owner => "rowhouse_owner",
                Role::Service => "rowhouse_service",
            }
        );
        while self.ask(&waiting)[0].parse::<usize>().unwrap() < sessions {}
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
