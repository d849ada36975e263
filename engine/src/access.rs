//! The engine's users, their passwords and their rights.
//!
//! ```text
//! DATA/collector.password, .headers    creates databases and tables, inserts, reads
//! DATA/owner.password, .headers        creates dictionaries as well, from this machine only
//! DATA/reader.password, .headers       reads
//! DATA/config/                         ClickHouse's configuration, rewritten at each start
//! ```
//!
//! The first start creates the passwords. Only the engine's owner can read these files (mode 0600).
//! A `.headers` file is for `curl -H @FILE`, because every user of a machine can see a command
//! line.
//!
//! Three things protect the data and the machine:
//!
//! - A request has to name one of these users in the header `X-ClickHouse-User`. ClickHouse
//!   answers every other request with 401 before it reads the query. It then reads the password
//!   from `X-ClickHouse-Key` alone. A page of another site cannot send these headers, and browsers
//!   do not add them automatically. (With `Authorization`, a URL parameter could name another
//!   user.)
//! - Neither `collector` nor `reader` has a right to files, URLs, other servers, programs, SYSTEM statements or other
//!   users. `clickhouse local` runs the query that keeps it up as the user `default`. A request
//!   cannot name that user. Dictionaries read tables of the engine as that user, so it may read.
//! - A dictionary can read any server, and run programs. Only the user `owner` creates
//!   dictionaries, and only over a loopback address; `serve` is that user if the schema has
//!   dictionaries.
//! - The function `file` reads any file, and `clickhouse local` requires no right for it. A
//!   user-defined function of the same name replaces it and always fails.

use std::{
    fmt,
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
};

use crate::error::{Error, Kind};

/// Twice the 128 bits that no attacker can guess.
const PASSWORD_BYTES: usize = 32;

/// The share of the machine's memory that ClickHouse may use. As a library, it has been seen to count
/// 15 GiB with 2.5 GiB in use, after half an hour of tests, and then refuses every query (code 241).
const UNLIMITED: u32 = 1_000_000;

const OWNER_ONLY: u32 = 0o600;

const OWNER_ONLY_FOLDER: u32 = 0o700;

/// The tables of `system` that both users may read; ClickHouse shows some others to every user.
const SYSTEM_TABLES: [&str; 11] = [
    "clusters",
    "codecs",
    "detached_parts",
    "disks",
    "merge_tree_settings",
    "merges",
    "mutations",
    "parts",
    "parts_columns",
    "processes",
    "replicated_merge_tree_settings",
];

/// The table engines that keep rows in the data folder, or in other tables of it.
///
/// A path in an EmbeddedRocksDB's arguments can lead out of the folder, but only to a RocksDB.
const TABLE_ENGINES: [&str; 29] = [
    "Alias",
    "AggregatingMergeTree",
    "Buffer",
    "CoalescingMergeTree",
    "CollapsingMergeTree",
    "Distributed",
    "EmbeddedRocksDB",
    "GraphiteMergeTree",
    "Join",
    "Log",
    "MaterializedView",
    "Memory",
    "Merge",
    "MergeTree",
    "Null",
    "ReplacingMergeTree",
    "ReplicatedAggregatingMergeTree",
    "ReplicatedCoalescingMergeTree",
    "ReplicatedCollapsingMergeTree",
    "ReplicatedGraphiteMergeTree",
    "ReplicatedMergeTree",
    "ReplicatedReplacingMergeTree",
    "ReplicatedSummingMergeTree",
    "ReplicatedVersionedCollapsingMergeTree",
    "Set",
    "StripeLog",
    "SummingMergeTree",
    "TinyLog",
    "VersionedCollapsingMergeTree",
];

/// A user of the engine, with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    name: &'static str,
    password: String,
    data: PathBuf,
}

impl Account {
    /// Returns the name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the password: hexadecimal digits. Do not log it or put it on a command line.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Returns curl's option for this user, quoted for a shell: `-H @FILE`. The file has the name
    /// and the password as HTTP headers.
    pub fn curl_option(&self) -> String {
        format!("-H @{}", shell_quoted(&self.file("headers")))
    }

    /// Returns a shell expression that expands to the password.
    pub(crate) fn shell_password(&self) -> String {
        format!("$(cat {})", shell_quoted(&self.file("password")))
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.data.join(self.name).with_extension(extension)
    }

    /// Returns the name and the password as HTTP headers, each followed by `end`.
    pub(crate) fn headers(&self, end: &str) -> String {
        let Self { name, password, .. } = self;
        format!("X-ClickHouse-User: {name}{end}X-ClickHouse-Key: {password}{end}")
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The users of one data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) collector: Account,
    pub(crate) owner: Account,
    pub(crate) reader: Account,
    /// Rights of the collector besides its own.
    pub(crate) grants: Vec<String>,
}

impl Access {
    /// Reads the passwords of a data folder, and creates missing ones.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written, or does not contain a password.
    pub(crate) fn of(data: &Path) -> Result<Access, Error> {
        Ok(Access {
            collector: account(data, "collector")?,
            owner: account(data, "owner")?,
            reader: account(data, "reader")?,
            grants: Vec::new(),
        })
    }

    /// Writes ClickHouse's configuration into the data folder, and returns its path.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(crate) fn configure(&self, data: &Path) -> Result<PathBuf, Error> {
        let folder = data.join("config");
        let (config, users) = (folder.join("config.xml"), folder.join("users.xml"));
        let functions = folder.join("functions");
        for folder in [&folder, &functions] {
            let created = DirBuilder::new().recursive(true).mode(OWNER_ONLY_FOLDER).create(folder);
            created.map_err(failed(folder))?;
        }
        replace(&functions.join("function_file.sql"), FILE_FUNCTION)?;
        replace(&users, &self.users())?;
        replace(&config, &self.config(&users, &functions))?;
        Ok(config)
    }

    fn config(&self, users: &Path, functions: &Path) -> String {
        let rule = |account: &Account| {
            format!(
                "    <rule>\n      \
                       <headers><X-ClickHouse-User>{}</X-ClickHouse-User></headers>\n      \
                       <handler><type>dynamic_query_handler</type><query_param_name>query</query_param_name></handler>\n    \
                 </rule>\n",
                account.name
            )
        };
        format!(
            "<clickhouse>\n  \
               <max_server_memory_usage_to_ram_ratio>{UNLIMITED}</max_server_memory_usage_to_ram_ratio>\n  \
               <users_config>{users}</users_config>\n  \
               <user_defined_path>{functions}/</user_defined_path>\n  \
               <access_control_improvements>\n    \
                 <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>\n    \
                 <table_engines_require_grant>true</table_engines_require_grant>\n  \
               </access_control_improvements>\n  \
               <http_handlers>\n{collector}{owner}{reader}    \
                 <rule><handler><type>static</type><status>401</status>\
                   <response_content>{UNAUTHORIZED}</response_content></handler></rule>\n  \
               </http_handlers>\n\
             </clickhouse>\n",
            users = escaped(users),
            functions = escaped(functions),
            collector = rule(&self.collector),
            owner = rule(&self.owner),
            reader = rule(&self.reader),
        )
    }

    fn users(&self) -> String {
        let rights = |grants: &[&str], engines: &[&str]| {
            let to_tables = grants.iter().map(|grants| format!("GRANT {grants} ON *.*"));
            let of_engines = engines.iter().map(|engine| format!("GRANT TABLE ENGINE ON {engine}"));
            let not_system = ["REVOKE SELECT ON system.*".to_owned()];
            let of_system = SYSTEM_TABLES
                .iter()
                .map(|table| format!("GRANT SELECT ON system.{table}"));
            let all = to_tables.chain(of_engines).chain(not_system).chain(of_system);
            all.map(|grant| format!("        <query>{grant}</query>\n"))
                .collect::<String>()
        };
        let further = self.grants.iter();
        let further: String = further
            .map(|grant| format!("        <query>GRANT {grant}</query>\n"))
            .collect();
        let user = |account: &Account, networks: &str, profile: &str, rights: String| {
            let Account { name, password, .. } = account;
            format!(
                "    <{name}>\n      \
                       <password>{password}</password>\n      \
                       <networks>{networks}</networks>\n      \
                       <profile>{profile}</profile>\n      \
                       <quota>default</quota>\n      \
                       <grants>\n{rights}      </grants>\n    \
                 </{name}>\n"
            )
        };
        format!(
            "<clickhouse>\n  \
               <profiles>\n    \
                 <default/>\n    \
                 <collector><constraints>\n      \
                   <merge_tree_disk><const/></merge_tree_disk>\n      \
                   <merge_tree_storage_policy><const/></merge_tree_storage_policy>\n    \
                 </constraints></collector>\n    \
                 <reader><readonly>2</readonly></reader>\n  \
               </profiles>\n  \
               <quotas><default/></quotas>\n  \
               <users>\n    \
                 <default>\n      \
                   <password></password>\n      \
                   <networks><ip>127.0.0.1</ip></networks>\n      \
                   <profile>default</profile>\n      \
                   <quota>default</quota>\n      \
                   <grants>\n        \
                     <query>GRANT SYSTEM LISTEN, CREATE TEMPORARY TABLE ON *.*</query>\n        \
                     <query>GRANT READ ON FILE</query>\n        \
                     <query>GRANT SELECT ON *.*</query>\n        \
                     <query>REVOKE SELECT ON system.*</query>\n      \
                   </grants>\n    \
                 </default>\n{collector}{owner}{reader}  \
               </users>\n\
             </clickhouse>\n",
            collector = user(
                &self.collector,
                ANYWHERE,
                "collector",
                rights(&COLLECTOR_GRANTS, &TABLE_ENGINES) + &further
            ),
            owner = user(
                &self.owner,
                "<ip>127.0.0.1</ip><ip>::1</ip>",
                "collector",
                rights(&[&COLLECTOR_GRANTS[..], &OWNER_GRANTS].concat(), &TABLE_ENGINES)
            ),
            reader = user(
                &self.reader,
                ANYWHERE,
                "reader",
                rights(&["SELECT, SHOW, dictGet"], &[])
            ),
        )
    }
}

/// The rights of the collector's user on tables and databases.
const COLLECTOR_GRANTS: [&str; 3] = [
    "SELECT, INSERT, ALTER, SHOW, dictGet, CHECK, OPTIMIZE, TRUNCATE, UNDROP TABLE",
    "CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE TEMPORARY TABLE",
    "DROP DATABASE, DROP TABLE, DROP VIEW",
];

/// The rights that only the owner has.
const OWNER_GRANTS: [&str; 1] = ["CREATE DICTIONARY, DROP DICTIONARY, SYSTEM RELOAD DICTIONARY"];

/// The networks of users whom the engine's address alone limits.
const ANYWHERE: &str = "<ip>::/0</ip>";

const UNAUTHORIZED: &str = "the embedded ClickHouse requires a user and a password in the headers X-ClickHouse-User and \
                            X-ClickHouse-Key; the engine's data folder has them, for `curl -H @FILE`, in reader.headers\n";

/// ClickHouse prefers a user-defined function to its own.
const FILE_FUNCTION: &str = "CREATE FUNCTION file AS path -> throwIf(1, 'the embedded ClickHouse reads no files')\n";

fn account(data: &Path, name: &'static str) -> Result<Account, Error> {
    let mut account = Account {
        name,
        password: String::new(),
        data: data.to_owned(),
    };
    account.password = password(&account.file("password"))?;
    replace(&account.file("headers"), &account.headers("\n"))?;
    Ok(account)
}

/// Returns the password in a file, and creates the file if it is missing.
fn password(file: &Path) -> Result<String, Error> {
    if !fs::exists(file).map_err(failed(file))? {
        let mut bytes = [0; PASSWORD_BYTES];
        getrandom::fill(&mut bytes).map_err(|cause| Error::system("random bytes")(cause.into()))?;
        let password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let unfinished = write_beside(file, &(password + "\n"))?;
        // Unlike a rename, a link never replaces a password that another process has just created.
        let created = match fs::hard_link(&unfinished, file) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            created => created,
        };
        fs::remove_file(&unfinished).and(created).map_err(failed(file))?;
    }
    // A copy of the folder may have lost the mode.
    fs::set_permissions(file, Permissions::from_mode(OWNER_ONLY)).map_err(failed(file))?;
    let text = fs::read_to_string(file).map_err(failed(file))?;
    let password = text.trim_end();
    match password.len() >= PASSWORD_BYTES && password.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok(password.to_owned()),
        false => Err(Kind::NoPassword { file: file.to_owned() }.into()),
    }
}

/// Replaces a file by one that only its owner can read. The rename is atomic: the old file stays
/// until the new one is complete.
pub(crate) fn replace(file: &Path, text: &str) -> Result<(), Error> {
    let unfinished = write_beside(file, text)?;
    fs::rename(unfinished, file).map_err(failed(file))
}

/// Writes a file beside another one, under a name unique to this process, and returns its path.
fn write_beside(file: &Path, text: &str) -> Result<PathBuf, Error> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}-unfinished", process::id()));
    let beside = PathBuf::from(beside);
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(OWNER_ONLY)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })();
    written.map_err(failed(file)).map(|()| beside)
}

/// For `map_err`: a file of this module cannot be read or written.
fn failed(file: &Path) -> impl FnOnce(io::Error) -> Error {
    let file = file.to_owned();
    move |cause| Kind::Access { file, cause }.into()
}

fn shell_quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

fn escaped(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    /// A folder for one test, removed when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("rowmill-access-{test}-{}", process::id()));
            fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_password_is_created_once_and_readable_only_by_its_owner() {
        let folder = Folder::new("once");
        let access = Access::of(&folder.0).unwrap();
        let (collector, reader) = (access.collector.password(), access.reader.password());
        assert_eq!(collector.len(), 2 * PASSWORD_BYTES);
        assert_ne!(collector, reader);
        let file = folder.0.join("reader.password");
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{reader}\n"));
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Access::of(&folder.0).unwrap(), access);
        access.configure(&folder.0).unwrap();
        for name in [
            "collector.password",
            "collector.headers",
            "owner.headers",
            "owner.password",
            "reader.headers",
            "config/users.xml",
        ] {
            assert_eq!(mode(&folder.0.join(name)), OWNER_ONLY, "{name}");
        }
        assert_eq!(mode(&file), OWNER_ONLY);
        assert_eq!(mode(&folder.0.join("config")), OWNER_ONLY_FOLDER);
        let names = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.count(), 7, "nothing unfinished is left");
    }

    #[test]
    fn only_the_collector_gets_further_rights() {
        let folder = Folder::new("grants");
        let mut access = Access::of(&folder.0).unwrap();
        let further = "<query>GRANT TABLE ENGINE ON Kafka</query>";
        assert!(!access.users().contains(further));
        access.grants.push("TABLE ENGINE ON Kafka".to_owned());
        let users = access.users();
        let (before, after) = users.split_once(further).unwrap();
        assert!(before.contains("<collector>\n      <password>") && after.contains("</collector>\n    <owner>"));
        assert!(!after.contains("Kafka"));
    }

    #[test]
    fn a_file_without_a_password_is_named_and_not_overwritten() {
        let folder = Folder::new("empty");
        let file = folder.0.join("reader.password");
        for text in ["", "\n", "short", "<user>of-some-thirty-two-characters</user>"] {
            fs::write(&file, text).unwrap();
            let error = Access::of(&folder.0).unwrap_err().to_string();
            assert!(
                error.contains("reader.password") && error.contains("delete it"),
                "{error}"
            );
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }

    #[test]
    fn no_password_is_shown() {
        let folder = Folder::new("shown");
        let access = Access::of(&folder.0).unwrap();
        let shown = format!("{access:?}");
        assert!(shown.contains("reader"), "{shown}");
        assert!(!shown.contains(access.reader.password()) && !shown.contains(access.collector.password()));
    }

    #[test]
    fn paths_are_escaped() {
        assert_eq!(shell_quoted(Path::new("/it's $HOME")), r"'/it'\''s $HOME'");
        assert_eq!(escaped(Path::new("/a&b</c>")), "/a&amp;b&lt;/c&gt;");
    }
}
