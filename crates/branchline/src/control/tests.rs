//! Tests of both ends together, with a stand-in for the node.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use branchline_core::code::Code;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::server::Execute;
use super::{bind, call};
use crate::api::v1::{Answer, ChangedAnswer, Command, Problem, Progress};
use crate::node::ProgressSink;

fn silent() -> ProgressSink {
    Arc::new(|_| {})
}

fn answering(message: &str) -> Execute {
    let message = message.to_owned();
    Arc::new(move |_, _| {
        let message = message.clone();
        Box::pin(async move { Ok(Answer::Changed(ChangedAnswer { message })) })
    })
}

fn serve(home: &Path, execute: Execute) -> (CancellationToken, JoinHandle<()>) {
    let socket = bind(home).unwrap();
    let shutdown = CancellationToken::new();
    (shutdown.clone(), tokio::spawn(socket.serve_with(execute, shutdown)))
}

#[tokio::test]
async fn nothing_is_asked_where_nobody_serves() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(call(home.path(), &Command::Id, &silent()).await, Ok(None));
}

#[tokio::test]
async fn an_answer_comes_after_its_progress() {
    let home = tempfile::tempdir().unwrap();
    let execute: Execute = Arc::new(|command, progress| {
        Box::pin(async move {
            for rows in 0..3 {
                progress(Progress {
                    stage: "pack".into(),
                    peer: None,
                    rows,
                    rows_total: None,
                    bytes: 0,
                    bytes_total: None,
                    message: None,
                });
            }
            Ok(Answer::Changed(ChangedAnswer { message: format!("{command:?}") }))
        })
    });
    let (shutdown, serving) = serve(home.path(), execute);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink: ProgressSink = {
        let seen = Arc::clone(&seen);
        Arc::new(move |report| seen.lock().unwrap().push(report.rows))
    };
    let answer = call(home.path(), &Command::Tables, &sink).await;
    assert_eq!(answer, Ok(Some(Answer::Changed(ChangedAnswer { message: "Tables".into() }))));
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2]);
    shutdown.cancel();
    serving.await.unwrap();
    assert_eq!(call(home.path(), &Command::Id, &silent()).await, Ok(None));
}

#[tokio::test]
async fn a_problem_arrives_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let problem = Problem::new(Code::PEER_UNKNOWN, "no peer X").with_data("safe");
    let answered = problem.clone();
    let execute: Execute = Arc::new(move |_, _| {
        let problem = answered.clone();
        Box::pin(async move { Err(problem) })
    });
    let (_shutdown, _serving) = serve(home.path(), execute);
    assert_eq!(call(home.path(), &Command::Status, &silent()).await, Err(problem));
}

#[tokio::test]
async fn a_caller_that_hangs_up_takes_its_command_back() {
    struct Dropped(Arc<AtomicBool>, Arc<tokio::sync::Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
            self.1.notify_one();
        }
    }
    let home = tempfile::tempdir().unwrap();
    let (dropped, started, ended) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
    let execute: Execute = {
        let (dropped, started, ended) = (Arc::clone(&dropped), Arc::clone(&started), Arc::clone(&ended));
        Arc::new(move |_, _| {
            let guard = Dropped(Arc::clone(&dropped), Arc::clone(&ended));
            let started: Arc<tokio::sync::Notify> = Arc::clone(&started);
            Box::pin(async move {
                let _guard = guard;
                started.notify_one();
                std::future::pending().await
            })
        })
    };
    let (_shutdown, _serving) = serve(home.path(), execute);
    let command = Command::Status;
    let sink = silent();
    tokio::select! {
        answer = call(home.path(), &command, &sink) => panic!("{answer:?}"),
        () = started.notified() => {}
    }
    ended.notified().await;
    assert!(dropped.load(Ordering::SeqCst));
}

#[cfg(unix)]
#[tokio::test]
async fn a_leftover_socket_is_nobody() {
    let home = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(home.path().join("control.sock")).unwrap());
    assert_eq!(call(home.path(), &Command::Id, &silent()).await, Ok(None));
    let (_shutdown, _serving) = serve(home.path(), answering("here"));
    assert!(matches!(call(home.path(), &Command::Id, &silent()).await, Ok(Some(_))));
}

#[cfg(unix)]
#[tokio::test]
async fn a_home_with_a_long_path_is_found_too() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("x".repeat(120));
    std::fs::create_dir(&home).unwrap();
    let (shutdown, serving) = serve(&home, answering("here"));
    let socket = std::path::PathBuf::from(std::fs::read_to_string(home.join("control.path")).unwrap());
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(socket.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(matches!(call(&home, &Command::Id, &silent()).await, Ok(Some(_))));
    shutdown.cancel();
    serving.await.unwrap();
    assert!(!socket.exists() && !socket.parent().unwrap().exists());
    assert_eq!(call(&home, &Command::Id, &silent()).await, Ok(None));
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_no_command_is_told_so_and_what_is_too_long_is_cut_off() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let home = tempfile::tempdir().unwrap();
    let (_shutdown, _serving) = serve(home.path(), answering("here"));
    let path = home.path().join("control.sock");
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"{\"command\":\"format_disk\"}\n").await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("{\"problem\":{\"code\":\"BL-E0313\""), "{said}");
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let _ = stream.write_all(&vec![b'x'; (1 << 20) + (64 << 10)]).await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}
