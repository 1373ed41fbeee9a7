//! Application databases that are wrong, away, read-only, or that lack a right: said where it can be mended, kept from
//! the peer, and what waits goes on once it is.

use branchline::api::v1::{Answer, Command, Problem, StatusAnswer, SyncCommand};
use branchline_core::backup::Codec;
use branchline_core::code::Code;
use branchline_core::ports::OfferAnswer;
use branchline_testkit::database::Engine;

use crate::world::{Courier, Draft, Home, Scene, Server, Shop, delivered, ended, introduce, refused};

/// What a server with that database says of its tables.
async fn tables_of(database: &str) -> Result<Answer, Problem> {
    let home = Home::make("STORE-001", database);
    home.open().await.unwrap().execute(Command::Tables, branchline::node::progress::silent()).await
}

async fn status_of(server: &Server) -> Box<StatusAnswer> {
    match server.ask(Command::Status).await {
        Ok(Answer::Status(status)) => status,
        other => panic!("{other:?}"),
    }
}

/// The cluster for tests, by TCP and with its password.
fn by_tcp() -> String {
    std::env::var("BRANCHLINE_TEST_POSTGRES_TCP").expect("cargo xtask test sets BRANCHLINE_TEST_POSTGRES_TCP")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_that_says_nothing_is_refused() {
    for url in [
        "sqlite:",
        "sqlite::memory:",
        "postgresql://",
        "postgresql://host/shop",
        "postgresql://u@h:port/shop",
    ] {
        let problem = refused(tables_of(url).await, Code::DATABASE_URL_INVALID);
        assert!(!problem.retryable, "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_is_named_without_its_password() {
    let tcp = by_tcp();
    let password = tcp.split([':', '@']).nth(2).unwrap().to_owned();
    let wrong_password = tcp.replacen(&password, "secret-7", 1);
    let wrong_database = tcp.replace("/postgres", "/no_such_database");
    let closed = "postgresql://shop:secret-7@127.0.0.1:1/shop".to_owned();
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("sqlite:{}", folder.path().join("missing.db").display());
    for (url, named) in [
        (&wrong_password, "127.0.0.1"),
        (&wrong_database, "no_such_database"),
        (&closed, "127.0.0.1:1/shop"),
        (&missing, "missing.db"),
    ] {
        let problem = refused(tables_of(url).await, Code::DATABASE_UNREACHABLE);
        let said = format!("{problem:?}");
        assert!(problem.retryable && said.contains(named), "{said}");
        assert!(!said.contains("secret-7") && !said.contains(&password), "{said}");
    }
    assert!(!folder.path().join("missing.db").exists());
}

/// A store without its database says so; its server answers all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_database_can_be_asked_what_is_wrong() {
    let home = Home::make("STORE-001", "postgresql://shop:secret-7@127.0.0.1:1/shop");
    let node = home.open().await.unwrap();
    let ask = |command| node.execute(command, branchline::node::progress::silent());
    let Ok(Answer::Status(status)) = ask(Command::Status).await else { panic!() };
    assert_eq!((status.engine, status.warnings[0].code.as_str()), (None, "BL-E0402"));
    assert!(status.warnings[0].message.contains("127.0.0.1:1/shop"));
    assert!(matches!(ask(Command::Id).await, Ok(Answer::Id(_))));
}

/// The store has sent all of it; headquarters applies it once its database is back, and nothing travels twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_waits_until_the_targets_database_is_back() {
    let shop = Shop::empty(Engine::Sqlite).await;
    let path = shop.url.strip_prefix("sqlite:").unwrap().to_owned();
    let away = format!("{path}.away");
    std::fs::rename(&path, &away).unwrap();
    let headquarters = Server::start("CENTRAL-HQ", shop).await;
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    let waiting = store.sync().await;
    let problem = ended(&waiting, "waiting", Code::DATABASE_UNREACHABLE);
    assert!(!problem.message.contains(&path), "our insides are nobody's business: {problem}");
    let status = status_of(&headquarters).await;
    assert!(
        status.warnings.iter().any(|warning| warning.message.contains("a backup of STORE-001 is here")),
        "{status:?}"
    );
    std::fs::rename(&away, &path).unwrap();
    let outcome = store.sync().await;
    delivered(&outcome);
    assert_eq!((outcome.resumed, outcome.sent_bytes, outcome.backup), (true, 0, waiting.backup));
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
    assert!(status_of(&headquarters).await.warnings.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_postgres_takes_nothing_until_it_takes_writes() {
    let scene = Scene::of_shops(Engine::Postgres).await;
    let name = scene.headquarters.shop.query("SELECT current_database()").await.remove(0);
    scene
        .headquarters
        .shop
        .execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"))
        .await;
    let waiting = scene.store.sync().await;
    ended(&waiting, "waiting", Code::DATABASE_READ_ONLY);
    let document = scene.seal(&scene.draft().await);
    scene.refuses_file(&document.bytes(Codec::Zstd), Code::DATABASE_READ_ONLY).await;
    let allow =
        format!("BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT");
    scene.headquarters.shop.execute(&allow).await;
    assert_eq!(scene.store.sync().await.backup, waiting.backup);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_sqlite_file_takes_nothing_until_it_takes_writes() {
    use std::os::unix::fs::PermissionsExt;

    let scene = Scene::of_shops(Engine::Sqlite).await;
    let path = scene.headquarters.shop.url.strip_prefix("sqlite:").unwrap().to_owned();
    let set_mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o444);
    let mut headquarters = scene.headquarters;
    // Rights are looked at when the database is first used.
    headquarters.restart().await;
    let waiting = scene.store.sync().await;
    ended(&waiting, "waiting", Code::DATABASE_READ_ONLY);
    refused(headquarters.ask(Command::Tables).await, Code::DATABASE_READ_ONLY);
    set_mode(0o644);
    assert_eq!(headquarters.shop.query("SELECT count(*) FROM products").await, ["2"]);
    let outcome = scene.store.sync().await;
    delivered(&outcome);
    assert_eq!(outcome.backup, waiting.backup);
}

/// A role of its own for a server's database, without any right there.
async fn with_poor_role(shop: &Shop) -> (String, String) {
    let role = format!("poor_{}", shop.query("SELECT current_database()").await.remove(0));
    shop.execute(&format!("CREATE ROLE {role} LOGIN")).await;
    (shop.url.replacen("postgres@", &format!("{role}@"), 1), role)
}

/// The missing right is named at the server whose database it is, and the statement that is named gives it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_named_with_its_grant_until_all_are_there() {
    let shop = Shop::empty(Engine::Postgres).await;
    shop.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let (url, role) = with_poor_role(&shop).await;
    let before = shop.hashes().await;
    let headquarters = Server::start_with(Home::make("CENTRAL-HQ", &url), shop, &[], |spool| spool).await;
    let store = Server::start("STORE-001", Shop::stocked(Engine::Postgres).await).await;
    introduce(&store, &headquarters).await;
    let mut granted = Vec::new();
    let outcome = loop {
        let outcome = store.sync().await;
        let Some(problem) = &outcome.problem else { break outcome };
        assert!(granted.len() < 30, "{granted:?}");
        let known = (outcome.state.as_str(), problem.name.as_str());
        assert!(
            known == ("waiting", "PRIVILEGE_MISSING") || known == ("refused", "TABLE_NOT_SYNCABLE"),
            "{outcome:?}"
        );
        assert!(known.0 == "refused" || !problem.message.contains("GRANT"), "{problem}");
        let grant = grant_named_at(&headquarters).await;
        headquarters.shop.execute(&grant).await;
        granted.push(grant);
    };
    delivered(&outcome);
    let granted = granted.join("; ").replace(&role, "ROLE");
    for right in [
        "GRANT CREATE ON DATABASE",
        "GRANT SELECT ON TABLE",
        "GRANT INSERT, UPDATE ON TABLE \"public\".\"products\"",
    ] {
        assert!(granted.contains(right), "{right}: {granted}");
    }
    assert!(headquarters.shop.hashes().await != before);
    assert!(store.compare(&headquarters).await.equal);
}

/// The statement that headquarters' own status or list of tables names.
async fn grant_named_at(headquarters: &Server) -> String {
    let status = status_of(headquarters).await;
    let warnings = status.warnings.into_iter().map(|warning| warning.message);
    let reasons = match headquarters.ask(Command::Tables).await {
        Ok(Answer::Tables(tables)) => tables.tables.into_iter().filter_map(|table| table.reason).collect(),
        _ => Vec::new(),
    };
    let named = warnings.chain(reasons).find_map(|text| text.find("GRANT ").map(|at| text[at..].to_owned()));
    named.expect("a statement that gives the right")
}

/// Without INSERT on one table nothing of the others stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_not_insert_into_one_table_writes_into_none() {
    let shop = Shop::empty(Engine::Postgres).await;
    shop.execute("INSERT INTO products (id, sku, price) VALUES (1, 'A-1', '7.77')").await;
    let (url, role) = with_poor_role(&shop).await;
    let rights = format!(
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role};
         GRANT USAGE ON SCHEMA branchline TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA branchline TO {role};
         REVOKE INSERT ON order_items FROM {role}"
    );
    let _ledger = shop.port().ledger().await.unwrap();
    shop.execute(&rights).await;
    let before = shop.hashes().await;
    let headquarters = Server::start_with(Home::make("CENTRAL-HQ", &url), shop, &[], |spool| spool).await;
    let store = Server::start("STORE-001", Shop::stocked(Engine::Postgres).await).await;
    introduce(&store, &headquarters).await;
    let document = Draft::of(&store, &headquarters.home).await.seal(&store.home.identity);
    let folder = tempfile::tempdir().unwrap();
    let problem =
        refused(headquarters.import(&document.write_to(&folder, Codec::Zstd)).await, Code::PRIVILEGE_MISSING);
    let grant = format!("GRANT INSERT ON TABLE \"public\".\"order_items\" TO \"{role}\"");
    assert!(problem.message.contains(&grant), "{problem}");
    assert_eq!(problem.help, grant);
    assert_eq!(headquarters.shop.hashes().await, before);
    // Over the wire it waits, and is all there already when the right is.
    let courier = Courier::new(&store.home.identity, &headquarters);
    courier.deliver(&document).await.refused(Code::PRIVILEGE_MISSING);
    assert_eq!(headquarters.shop.hashes().await, before);
    headquarters.shop.execute(&grant).await;
    assert_eq!(courier.offer(&document, Codec::Zstd).await.unwrap(), OfferAnswer::Complete);
    courier.deliver(&document).await.applied();
}

/// The source's own database: nothing is packed, and nothing is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_whose_database_goes_away_queues_nothing() {
    let shop = Shop::stocked(Engine::Sqlite).await;
    let store = Server::start("STORE-001", shop).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    let before = headquarters.shop.hashes().await;
    let path = store.shop.url.strip_prefix("sqlite:").unwrap();
    std::fs::rename(path, format!("{path}.away")).unwrap();
    refused(store.ask(Command::Sync(SyncCommand::default())).await, Code::DATABASE_UNREACHABLE);
    assert_eq!(store.home.spool_files(""), 0);
    assert_eq!(headquarters.shop.hashes().await, before);
}
