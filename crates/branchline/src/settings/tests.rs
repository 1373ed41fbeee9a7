//! Tests of reading and checking settings as a whole.

use std::path::Path;

use branchline_core::backup::Codec;

use super::*;

const GOOD: &str = "config_version = 1\n[server]\nid = \"STORE-001\"\n[database]\nurl = \"sqlite:shop.db\"\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), text).unwrap();
        Self(folder)
    }

    fn load(
        &self,
        environment: &[(&str, &str)],
        flags: &[(&'static str, &str)],
    ) -> Result<(Settings, Vec<ShownSetting>), Vec<SettingsFault>> {
        let config_file = self.0.path().join("config.toml");
        let environment =
            environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let flags = flags
            .iter()
            .map(|(key, value)| FlagSetting { key, flag: "--flag", value: (*value).to_owned() })
            .collect();
        load_with_origins(&Sources { home: self.0.path(), config_file: &config_file, environment, flags })
    }

    fn faults(&self, environment: &[(&str, &str)]) -> Vec<String> {
        let path = format!("{}", self.0.path().join("config.toml").display());
        let faults = self.load(environment, &[]).unwrap_err();
        faults.iter().map(|fault| fault.to_string().replace(&path, "FILE")).collect()
    }
}

fn value<'a>(shown: &'a [ShownSetting], key: &str) -> &'a ShownSetting {
    shown.iter().find(|setting| setting.key == key).unwrap()
}

#[test]
fn a_small_file_gives_settings_with_defaults() {
    let folder = Folder::with(GOOD);
    let (settings, shown) = folder.load(&[], &[]).unwrap();
    assert_eq!(settings.server.as_str(), "STORE-001");
    assert_eq!(settings.name, "STORE-001");
    assert_eq!(settings.profile, Profile::Internet);
    assert_eq!(settings.listen, None);
    assert_eq!(settings.compression, Codec::Zstd);
    assert_eq!(settings.log, "info");
    let shop = folder.0.path().join("shop.db");
    assert_eq!(settings.database.url.expose_url(), format!("sqlite:{}", shop.display()));
    assert_eq!(value(&shown, "log.level").origin, Origin::Default);
    assert!(value(&shown, "server.id").origin.to_string().ends_with("config.toml:3"));
}

#[test]
fn every_fault_is_named_at_once_with_line_and_caret() {
    let folder = Folder::with(
        "[server]\nid = \"store 1\"\nnmae = \"x\"\n[database]\nurl = \"mysql://root:geheim@db/shop\"\n\
         tables = [\"orders\", 7]\n[listen]\naddress = 8443\n[lisen]\n[log]\nlevel = \"debgu\"\n",
    );
    let faults = folder.faults(&[]);
    let carets: Vec<&str> =
        faults.iter().flat_map(|fault| fault.lines()).filter(|line| line.contains('^')).collect();
    assert_eq!(
        carets,
        [
            format!("    |      ^^^^^^^^^ server.id: {}", branchline_core::id::ServerIdError),
            "    | ^^^^ server.nmae: there is no such key".to_owned(),
            "    |       ^ database.url: it begins with neither postgresql:// nor sqlite:".to_owned(),
            "    |                     ^ database.tables: expected text, found a number".to_owned(),
            "    |           ^^^^ listen.address: expected text, found a number".to_owned(),
            "    |  ^^^^^ lisen: there is no such section".to_owned(),
            "    |         ^^^^^^^ log.level: \"debgu\" is none of off, error, warn, info, debug, trace"
                .to_owned(),
        ]
    );
    let all = faults.join("\n");
    assert!(all.contains("FILE:8:11\n  8 | address = 8443\n"), "{all}");
    for meant in ["did you mean  listen", "did you mean  name", "did you mean  debug", "write it in quotes"] {
        assert!(all.contains(meant), "{meant} in {all}");
    }
    assert!(!all.contains("geheim"), "{all}");
}

#[test]
fn what_must_be_set_is_missed() {
    let faults = Folder::with("").faults(&[]);
    assert_eq!(faults.len(), 2);
    assert!(faults[0].contains("server.id: it must be set"), "{faults:?}");
    assert!(faults[1].contains("database.url: it must be set"), "{faults:?}");
}

#[test]
fn a_file_that_is_not_toml_says_only_that() {
    let faults = Folder::with("[server\nid = \"STORE-001\n").faults(&[]);
    assert!(!faults.is_empty() && faults.len() <= 2, "{faults:?}");
    assert!(faults[0].starts_with("FILE:1:"), "{faults:?}");
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let folder = Folder::with(&format!("{GOOD}[listen]\naddress = \"127.0.0.1:1\"\n"));
    let address = |environment: &[(&str, &str)], flags: &[(&'static str, &str)]| {
        let (settings, shown) = folder.load(environment, flags).unwrap();
        (settings.listen.unwrap(), value(&shown, "listen.address").origin.to_string())
    };
    let (said, origin) = address(&[], &[]);
    assert_eq!(said, "127.0.0.1:1");
    assert!(origin.ends_with("config.toml:7"), "{origin}");
    let environment = [("BRANCHLINE_LISTEN__ADDRESS", "127.0.0.1:2")];
    assert_eq!(address(&environment, &[]), ("127.0.0.1:2".into(), "BRANCHLINE_LISTEN__ADDRESS".into()));
    let flags = [("listen.address", "127.0.0.1:3")];
    assert_eq!(address(&environment, &flags), ("127.0.0.1:3".into(), "--flag".into()));
}

#[test]
fn faults_of_the_environment_name_the_variable() {
    let folder = Folder::with(GOOD);
    let faults =
        folder.faults(&[("BRANCHLINE_SERVER__PROFILE", "intranet"), ("BRANCHLINE_SERVER__NMAE", "x")]);
    assert_eq!(
        faults,
        [
            "BRANCHLINE_SERVER__NMAE in the environment\n  server.nmae: there is no such setting\nhelp: did you mean  BRANCHLINE_SERVER__NAME",
            "BRANCHLINE_SERVER__PROFILE in the environment\n  server.profile: expected one of internet, lan\nhelp: did you mean  internet",
        ]
    );
}

#[test]
fn a_url_comes_from_one_place() {
    let folder = Folder::with(&GOOD.replace("url = ", "url_file = \"secret\"\nurl = "));
    assert!(folder.faults(&[])[0].contains("database.url: database.url_file is set as well"));
    let folder = Folder::with(&GOOD.replace("url = \"sqlite:shop.db\"", "url_file = \"secret\""));
    assert!(folder.faults(&[])[0].contains("database.url_file: "));
    std::fs::write(folder.0.path().join("secret"), "postgresql://till:geheim@db/shop\n").unwrap();
    let (settings, shown) = folder.load(&[], &[]).unwrap();
    assert_eq!(settings.database.url.expose_url(), "postgresql://till:geheim@db/shop");
    assert!(shown.iter().all(|setting| !setting.value.contains("geheim")));
    let (settings, _) = folder.load(&[("BRANCHLINE_DATABASE__URL", "sqlite:/x.db")], &[]).unwrap();
    assert_eq!(settings.database.url.expose_url(), "sqlite:/x.db");
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let faults = Folder::with(&GOOD.replace("version = 1", "version = 2")).faults(&[]);
    assert!(faults[0].contains("config_version: this branchline reads version 1 of the file"), "{faults:?}");
}

#[test]
fn the_first_file_reads_back_as_it_was_meant() {
    let server = "CENTRAL-HQ".parse().unwrap();
    let advertise = ["hq-shop.duckdns.org:8443".parse().unwrap()];
    let values = Template {
        server: &server,
        name: Some("Head \"Office\" \\ 1"),
        profile: Profile::Lan,
        database: &DatabaseUrl::new("postgresql://till:ge\"heim@db/shop"),
        listen: Some("0.0.0.0:8443"),
        advertise: &advertise,
    };
    let (settings, _) = Folder::with(&expose_template(&values)).load(&[], &[]).unwrap();
    assert_eq!(settings.server, server);
    assert_eq!(settings.name, "Head \"Office\" \\ 1");
    assert_eq!(settings.profile, Profile::Lan);
    assert_eq!(settings.database.url.expose_url(), "postgresql://till:ge\"heim@db/shop");
    assert_eq!(settings.listen.as_deref(), Some("0.0.0.0:8443"));
    assert_eq!(settings.advertise, advertise);
    // What is commented out must be right as well.
    let uncommented = expose_template(&values).replace("\n# ", "\n");
    let is_setting =
        |line: &&str| (line.contains(" = ") || line.starts_with('[')) && !line.contains("url_file");
    let lines: Vec<&str> = uncommented.lines().filter(is_setting).collect();
    assert_eq!(lines.len(), 25, "{lines:?}");
    let (settings, _) = Folder::with(&lines.join("\n")).load(&[], &[]).unwrap();
    assert_eq!(settings.time_zone.iana_name(), Some("Europe/Vienna"));
    assert_eq!(settings.schedule[0].words(), "Monday to Saturday at 22:30, a daily backup to CENTRAL-HQ");
    assert_eq!(Path::new(&settings.key_file()).file_name().unwrap(), "identity.pem");
}

const SCHEDULE: &str = "
[[schedule]]
name = \"end of day\"
kind = \"daily_transactions\"
at = \"30 22 * * 1-6\"
peers = [\"CENTRAL-HQ\"]

[[schedule]]
name = \"live\"
kind = \"live\"
";

#[test]
fn a_schedule_is_read_entry_by_entry() {
    let folder = Folder::with(&format!("{GOOD}{SCHEDULE}"));
    let (settings, shown) = folder.load(&[("BRANCHLINE_SERVER__TIME_ZONE", "europe/vienna")], &[]).unwrap();
    let words: Vec<String> = settings.schedule.iter().map(|entry| entry.words()).collect();
    assert_eq!(
        words,
        [
            "Monday to Saturday at 22:30, a daily backup to CENTRAL-HQ",
            "as soon as something changes, the change to all peers"
        ]
    );
    assert_eq!(settings.time_zone.iana_name(), Some("Europe/Vienna"));
    assert_eq!(value(&shown, "schedule").value, "end of day, live");
    assert!(value(&shown, "schedule").origin.to_string().ends_with("config.toml:7"));
}

#[test]
fn every_fault_of_a_schedule_is_named_at_once_with_line_and_caret() {
    let folder = Folder::with(&format!(
        "{GOOD}[[schedule]]\nname = \"a\"\nkind = \"fulll\"\nat = \"every 7 minutes\"\n\
         [[schedule]]\nname = \"a\"\nkind = \"live\"\nat = \"22:30\"\npeers = [\"hq\", \"CENTRAL-HQ\"]\nevery = 5\n\
         [[schedule]]\nname = 7\nkind = \"full\"\n[[schedule]]\n[[schedule]]\nname = \"b\"\nkind = \"full\"\n\
         [[schedule]]\nname = \"c\"\nkind = \"live\"\nat = \"22:30\"\n"
    ));
    let faults = folder.faults(&[("BRANCHLINE_SERVER__TIME_ZONE", "Europe/Vienn")]);
    let said: Vec<String> = faults
        .iter()
        .map(|fault| {
            let place = fault.lines().next().unwrap().replace("FILE:", "");
            let said = fault.lines().find(|line| line.contains('^') || line.contains("server.")).unwrap();
            format!("{place} {}", said.trim_start_matches([' ', '|', '^']))
        })
        .collect();
    let times = "it must be said when: only an entry of kind live has no times";
    assert_eq!(
        said,
        [
            "8:8 schedule.kind: expected one of full, incremental, daily_transactions, compare, live".to_owned(),
            "9:6 schedule.at: an interval of minutes is one of 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 and 60".to_owned(),
            "11:8 schedule.name: another entry has this name".to_owned(),
            format!("14:10 schedule.peers: {}", branchline_core::id::ServerIdError),
            "15:1 schedule.every: there is no such key".to_owned(),
            "17:8 schedule.name: expected text, found a number".to_owned(),
            "19:1 schedule.name: it must be set".to_owned(),
            "19:1 schedule.kind: it must be set".to_owned(),
            format!("20:1 schedule.at: {times}"),
            "26:6 schedule.at: an entry of kind live has no times: it sends whenever something changes".to_owned(),
            "BRANCHLINE_SERVER__TIME_ZONE in the environment server.time_zone: there is no time zone \"Europe/Vienn\"".to_owned(),
        ]
    );
    assert!(faults.last().unwrap().ends_with("help: did you mean  Europe/Vienna"), "{faults:?}");
    assert!(faults[4].ends_with("help: known here: name, kind, at, peers"), "{}", faults[4]);
}

#[test]
fn a_schedule_in_single_brackets_is_told_to_be_doubled() {
    for (text, caret) in [
        ("[schedule]\nname = \"a\"\n", "schedule: expected sections in double brackets, found a section"),
        ("schedule = \"22:30\"\n", "schedule: expected sections in double brackets, found text"),
        ("schedule = [\"22:30\"]\n", "schedule: expected sections in double brackets, found text"),
    ] {
        let faults = Folder::with(
            &format!("{text}{GOOD}").replace("schedule]\nname = \"a\"\nconfig_version = 1", "schedule]"),
        )
        .faults(&[]);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains(caret), "{}", faults[0]);
        assert!(
            faults[0].ends_with("write [[schedule]] on a line of its own, once for each entry"),
            "{}",
            faults[0]
        );
    }
}

#[test]
fn days_are_read_and_their_faults_named() {
    let good = "\
                [[day]]\ntable = \"orders\"\ndate = \"business_date\"\nmoney = [\"total\"]\nonly = [\"store=S1\"]\n";
    let folder = Folder::with(&format!("{GOOD}{good}"));
    let (settings, _) = folder.load(&[], &[]).unwrap();
    assert_eq!(settings.day[0].only[0].1, "S1");
    let bad = "[[day]]\ntable = \"orders\"\ndate = \"d\"\nonly = [\"store\"]\n[[day]]\ndate = \"d\"\n";
    let folder = Folder::with(&format!("{GOOD}{bad}"));
    let named: Vec<String> = folder.load(&[], &[]).unwrap_err().into_iter().map(|fault| fault.key).collect();
    assert_eq!(named, ["day.only", "day.table"]);
}

#[test]
fn filters_are_read_and_their_faults_named() {
    let good = "[[filter]]\ntable = \"orders\"\nwhere = \"store = 'S1'\"\npeers = [\"CENTRAL-HQ\"]\nfollow = \"no\"\n\
                [[filter]]\ntable = \"stores\"\nwhere = \" id = 1 \"\n";
    let folder = Folder::with(&format!("{GOOD}{good}"));
    let (settings, _) = folder.load(&[], &[]).unwrap();
    let [orders, stores] = &settings.filters[..] else { panic!("{:?}", settings.filters) };
    assert_eq!((orders.table.as_str(), orders.condition.as_str()), ("orders", "store = 'S1'"));
    assert_eq!((orders.peers[0].as_str(), orders.follow), ("CENTRAL-HQ", false));
    assert_eq!((stores.condition.as_str(), stores.peers.len(), stores.follow), ("id = 1", 0, true));
    let bad = "[[filter]]\ntable = \"orders\"\nwhere = \"true; DROP TABLE orders\"\n[[filter]]\nwhere = \"true\"\n\
               [[filter]]\ntable = \"orders\"\nwhere = \"  \"\npeers = [\"hq\"]\nfollow = \"maybe\"\n";
    let folder = Folder::with(&format!("{GOOD}{bad}"));
    let named: Vec<String> = folder.load(&[], &[]).unwrap_err().into_iter().map(|fault| fault.key).collect();
    assert_eq!(named, ["filter.where", "filter.table", "filter.where", "filter.peers", "filter.follow"]);
}

#[test]
fn columns_that_stay_are_read_and_their_faults_named() {
    let with = |columns: &str, day: &str| {
        let good = GOOD.replace("[database]\n", &format!("[database]\nexcept_columns = [{columns}]\n"));
        assert_ne!(good, GOOD);
        Folder::with(&format!("{good}{day}")).load(&[], &[])
    };
    let (settings, _) = with("\"customers.note\", \"crm.people.birth\"", "").unwrap();
    let read: Vec<_> = settings
        .database
        .except_columns
        .iter()
        .map(|(table, column)| (table.as_str(), column.as_str()))
        .collect();
    assert_eq!(read, [("customers", "note"), ("crm.people", "birth")]);
    let faults = with("\"note\"", "").unwrap_err();
    assert_eq!(
        (faults[0].key.as_str(), faults[0].message.as_str()),
        ("database.except_columns", "a column is written table.column")
    );
    let day = "[[day]]\ntable = \"orders\"\ndate = \"business_date\"\nmoney = [\"total\"]\n";
    let faults = with("\"orders.total\"", day).unwrap_err();
    assert_eq!(faults[0].message, "orders.total is counted by a [[day]]");
}
