//! Backups and receipts that are carried on a USB stick: the same path with a file in the place of the wire.

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use branchline::api::v1::{Answer, Command, FileAnswer, ImportAnswer, Problem};
use branchline_core::code::Code;
use branchline_core::ports::Signer;
use branchline_core::receipt::v1::open_receipt;
use branchline_testkit::database::Engine;
use serde_json::Value;

use crate::world::{Server, Shop, counts, delivered, introduce, on_both_engines, refused};

async fn store_and_headquarters(engine: Engine) -> (Server, Server, tempfile::TempDir) {
    let store = Server::start("STORE-001", Shop::stocked(engine).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(engine).await).await;
    introduce(&store, &headquarters).await;
    (store, headquarters, tempfile::tempdir().unwrap())
}

async fn export(store: &Server, path: &Path, compression: &str) -> Result<FileAnswer, Problem> {
    let (peer, path) = ("CENTRAL-HQ".to_owned(), path.to_string_lossy().into_owned());
    let compression = Some(compression.to_owned());
    match store
        .ask(Command::BackupsExport { peer, path, compression, backup_type: None, mirror: false })
        .await?
    {
        Answer::File(file) => Ok(file),
        other => panic!("{other:?}"),
    }
}

async fn rehearse(server: &Server, path: &str) -> Result<ImportAnswer, Problem> {
    match server.ask(Command::BackupsImport { path: path.to_owned(), dry_run: true, mirror: false }).await? {
        Answer::Import(answer) => Ok(answer),
        other => panic!("{other:?}"),
    }
}

async fn waiting_at(server: &Server) -> Vec<String> {
    match server.ask(Command::BackupsList).await {
        Ok(Answer::Backups(backups)) => backups.waiting.into_iter().map(|backup| backup.backup).collect(),
        other => panic!("{other:?}"),
    }
}

on_both_engines! {
    a_backup_goes_by_file_and_its_receipt_comes_back_in_every_compression
    a_backup_is_imported_once_and_answered_the_same_each_time
    a_rehearsed_import_counts_and_writes_nothing
    a_backup_that_is_refused_is_settled_by_its_receipt
    an_older_backup_never_sets_rows_back
}

async fn a_backup_goes_by_file_and_its_receipt_comes_back_in_every_compression(engine: Engine) {
    for (compression, extension) in [("zstd", "json.zst"), ("gzip", "json.gz"), ("none", "json")] {
        let (store, headquarters, stick) = store_and_headquarters(engine).await;
        let exported = export(&store, stick.path(), compression).await.unwrap();
        assert_eq!(
            exported.path,
            stick.path().join(format!("{}.{extension}", exported.backup)).to_string_lossy()
        );
        assert_eq!(
            (exported.rows, exported.target.as_str(), exported.key_pinned),
            (10, "CENTRAL-HQ", Some(true))
        );
        assert_eq!(waiting_at(&store).await, std::slice::from_ref(&exported.backup));
        let imported = headquarters.import(Path::new(&exported.path)).await.unwrap();
        assert_eq!(counts(imported.receipt.as_ref().unwrap()), (10, 0, 0, 0));
        assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
        let receipt_path = PathBuf::from(imported.receipt_path.unwrap());
        assert_eq!(receipt_path, stick.path().join(format!("{}.receipt.json", exported.backup)));
        let document = std::fs::read(&receipt_path).unwrap();
        assert!(open_receipt(&document, headquarters.home.identity.public_key().key_id()).unwrap().success);
        // Back at the store it closes what waited.
        store.import(&receipt_path).await.unwrap();
        assert!(waiting_at(&store).await.is_empty());
        assert_eq!((store.home.spool_files(""), headquarters.home.spool_files("")), (0, 0));
        let Ok(Answer::Backup(shown)) = store.ask(Command::BackupsShow { backup: exported.backup }).await
        else {
            panic!()
        };
        assert_eq!(shown.receipt, imported.receipt);
    }
}

async fn a_backup_is_imported_once_and_answered_the_same_each_time(engine: Engine) {
    let (store, headquarters, stick) = store_and_headquarters(engine).await;
    let file = export(&store, stick.path(), "zstd").await.unwrap();
    let first = headquarters.import(Path::new(&file.path)).await.unwrap();
    headquarters.shop.execute("UPDATE products SET price = '8.88' WHERE id = 1").await;
    let before = headquarters.shop.hashes().await;
    let second = headquarters.import(Path::new(&file.path)).await.unwrap();
    assert_eq!(second.receipt, first.receipt);
    assert_eq!(headquarters.shop.hashes().await, before);
    // Over the wire it is the same backup, and there already.
    let sent = store.sync().await;
    assert_eq!(
        (delivered(&sent), sent.sent_bytes, sent.backup),
        (first.receipt.unwrap(), 0, Some(file.backup))
    );
    assert_eq!(headquarters.shop.hashes().await, before);
}

async fn a_rehearsed_import_counts_and_writes_nothing(engine: Engine) {
    let (store, headquarters, stick) = store_and_headquarters(engine).await;
    headquarters.shop.execute("INSERT INTO products (id, sku, price) VALUES (1, 'A-1', '7.77')").await;
    let before = headquarters.shop.hashes().await;
    let file = export(&store, stick.path(), "gzip").await.unwrap();
    let rehearsed = rehearse(&headquarters, &file.path).await.unwrap();
    assert_eq!(counts(rehearsed.receipt.as_ref().unwrap()), (9, 1, 0, 0));
    assert_eq!(rehearsed.receipt_path, None);
    assert_eq!(headquarters.shop.hashes().await, before);
    assert_eq!(std::fs::read_dir(stick.path()).unwrap().count(), 1);
    let imported = headquarters.import(Path::new(&file.path)).await.unwrap();
    assert_eq!(counts(imported.receipt.as_ref().unwrap()), (9, 1, 0, 0));
}

async fn a_backup_that_is_refused_is_settled_by_its_receipt(engine: Engine) {
    let (store, headquarters, stick) = store_and_headquarters(engine).await;
    store.shop.execute("CREATE TABLE suppliers (id BIGINT PRIMARY KEY)").await;
    let before = headquarters.shop.hashes().await;
    let file = export(&store, stick.path(), "zstd").await.unwrap();
    let rehearsed = rehearse(&headquarters, &file.path).await.unwrap().receipt.unwrap();
    assert_eq!((&rehearsed["success"], &rehearsed["errors"][0]["code"]), (&false.into(), &"BL-E0406".into()));
    assert_eq!(std::fs::read_dir(stick.path()).unwrap().count(), 1);
    let problem = refused(headquarters.import(Path::new(&file.path)).await, Code::TABLE_UNKNOWN);
    assert_eq!(problem.data.as_deref(), Some("The database is as it was."));
    assert_eq!(headquarters.shop.hashes().await, before);
    let receipt_path = stick.path().join(format!("{}.receipt.json", file.backup));
    let receipt: Value = serde_json::from_slice(&std::fs::read(&receipt_path).unwrap()).unwrap();
    assert_eq!((&receipt["success"], &receipt["errors"][0]["code"]), (&false.into(), &"BL-E0406".into()));
    store.import(&receipt_path).await.unwrap();
    assert!(waiting_at(&store).await.is_empty());
    // Once there is such a table the same stick will do.
    headquarters.shop.execute("CREATE TABLE suppliers (id BIGINT PRIMARY KEY)").await;
    headquarters.import(Path::new(&file.path)).await.unwrap();
}

async fn an_older_backup_never_sets_rows_back(engine: Engine) {
    let (store, headquarters, stick) = store_and_headquarters(engine).await;
    let older = export(&store, stick.path(), "zstd").await.unwrap();
    store.shop.execute("UPDATE products SET price = '1.20' WHERE id = 1").await;
    let newer = export(&store, stick.path(), "zstd").await.unwrap();
    headquarters.import(Path::new(&newer.path)).await.unwrap();
    let before = headquarters.shop.hashes().await;
    let problem = refused(headquarters.import(Path::new(&older.path)).await, Code::BACKUP_SUPERSEDED);
    assert!(problem.message.contains(&newer.backup), "{problem}");
    assert_eq!(headquarters.shop.hashes().await, before);
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_receipt_or_one_for_somebody_else_settles_nothing() {
    let (store, headquarters, stick) = store_and_headquarters(Engine::Sqlite).await;
    let file = export(&store, stick.path(), "zstd").await.unwrap();
    let imported = headquarters.import(Path::new(&file.path)).await.unwrap();
    let document = std::fs::read_to_string(imported.receipt_path.unwrap()).unwrap();
    let carried = |text: String| {
        let path = stick.path().join("carried.receipt.json");
        std::fs::write(&path, text).unwrap();
        path
    };
    for (from, to) in
        [("\"inserted\":10", "\"inserted\":11"), ("\"success\":true", "\"success\":false"), ("}", "")]
    {
        assert!(document.contains(from), "{document}");
        let changed = carried(document.replacen(from, to, 1));
        refused(store.import(&changed).await, Code::RECEIPT_INVALID);
    }
    assert_eq!(waiting_at(&store).await, std::slice::from_ref(&file.backup));
    // At another store of the same head office it answers nothing, and at one that does not know it, nobody.
    let second = Server::start("STORE-002", Shop::empty(Engine::Sqlite).await).await;
    refused(second.import(&carried(document.clone())).await, Code::PEER_UNKNOWN);
    introduce(&second, &headquarters).await;
    refused(second.import(&carried(document.clone())).await, Code::RECEIPT_INVALID);
    store.import(&carried(document)).await.unwrap();
    assert!(waiting_at(&store).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_written_or_read_is_named_and_nothing_waits_for_it() {
    let (store, headquarters, stick) = store_and_headquarters(Engine::Sqlite).await;
    let nowhere = stick.path().join("no such folder").join("backup.json.zst");
    let problem = refused(export(&store, &nowhere, "zstd").await.map(drop), Code::FILE_UNREADABLE);
    assert!(problem.message.contains("no such folder"), "{problem}");
    let there = stick.path().join("there.json.zst");
    std::fs::write(&there, "something of mine").unwrap();
    refused(export(&store, &there, "zstd").await.map(drop), Code::FILE_UNREADABLE);
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "something of mine");
    refused(export(&store, stick.path(), "zip").await.map(drop), Code::USAGE);
    assert_eq!((waiting_at(&store).await, store.home.spool_files("")), (Vec::new(), 0));
    refused(headquarters.import(&nowhere).await.map(drop), Code::FILE_UNREADABLE);
    refused(headquarters.import(stick.path()).await.map(drop), Code::FILE_UNREADABLE);
}

/// The tools that every shop's helper has open the file without branchline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zstd_and_gunzip_and_jq_open_a_backup() {
    let (store, _headquarters, stick) = store_and_headquarters(Engine::Sqlite).await;
    for (compression, open) in [("zstd", "zstd -dc"), ("gzip", "gunzip -c"), ("none", "cat")] {
        let file = export(&store, stick.path(), compression).await.unwrap();
        let asked = |question: &str| {
            let line = format!("{open} '{}' | jq --exit-status --compact-output '{question}'", file.path);
            let output = Process::new("sh").args(["-c", &line]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let metadata: Value = serde_json::from_str(&asked(".metadata")).unwrap();
        let id = |server: &Server| Value::from(server.id());
        assert_eq!((&metadata["sourceServerId"], &metadata["recordCount"]), (&id(&store), &10.into()));
        assert_eq!(asked(".data.customers[0].fullName"), "\"Ada\"");
        assert_eq!(asked(".signature | length"), "88");
    }
}
