//! A paired store whose key the test has, and a head office with rows of its own that must stay what they are.

use branchline::api::v1::Problem;
use branchline_core::backup::Codec;
use branchline_core::code::Code;
use branchline_core::ports::LinkError;
use branchline_testkit::database::Engine;

use super::{Courier, Document, Draft, Hashes, Server, Shop, introduce, refused};

/// What headquarters has before anything arrives: one row that a small shop's backup would change, and one beside it.
const OWN_ROWS: &str =
    "INSERT INTO products (id, sku, price) VALUES (1, 'A-1', '7.77'), (90, 'HQ-90', '1.00')";

/// A store and a head office.
pub(crate) struct Scene {
    pub(crate) store: Server,
    pub(crate) headquarters: Server,
    pub(crate) courier: Courier,
    before: Hashes,
    folder: tempfile::TempDir,
}

impl Scene {
    /// Two small shops.
    pub(crate) async fn of_shops(engine: Engine) -> Self {
        let headquarters = Shop::empty(engine).await;
        headquarters.execute(OWN_ROWS).await;
        Self::of(Shop::stocked(engine).await, headquarters).await
    }

    /// Databases of the test's own.
    pub(crate) async fn of(store: Shop, headquarters: Shop) -> Self {
        let store = Server::start("STORE-001", store).await;
        let headquarters = Server::start("CENTRAL-HQ", headquarters).await;
        introduce(&store, &headquarters).await;
        let courier = Courier::new(&store.home.identity, &headquarters);
        let before = headquarters.shop.hashes().await;
        Self { store, headquarters, courier, before, folder: tempfile::tempdir().unwrap() }
    }

    /// All rows of the store, not sealed yet.
    pub(crate) async fn draft(&self) -> Draft {
        Draft::of(&self.store, &self.headquarters.home).await
    }

    /// Seals with the store's own key.
    pub(crate) fn seal(&self, draft: &Draft) -> Document {
        draft.seal(&self.store.home.identity)
    }

    /// Headquarters has what it had.
    pub(crate) async fn assert_untouched(&self) {
        assert_eq!(self.headquarters.shop.hashes().await, self.before);
    }

    /// The upload is refused on its way in.
    pub(crate) async fn refuses(&self, document: &Document, code: Code) -> LinkError {
        self.refuses_bytes(document, &document.bytes(Codec::Zstd), code).await
    }

    pub(crate) async fn refuses_bytes(&self, document: &Document, bytes: &[u8], code: Code) -> LinkError {
        let error = self.courier.deliver_bytes(document, bytes).await.refused(code);
        self.assert_untouched().await;
        error
    }

    /// The document is good, and a signed receipt says why nothing of it was applied.
    pub(crate) async fn fails(&self, document: &Document, code: Code) -> String {
        let message = self.courier.deliver(document).await.failed(code);
        self.assert_untouched().await;
        message
    }

    /// The same document from a file.
    pub(crate) async fn refuses_file(&self, bytes: &[u8], code: Code) -> Problem {
        let problem = self.import(bytes).await;
        let problem = refused(problem, code);
        self.assert_untouched().await;
        problem
    }

    /// Imports bytes from a file.
    pub(crate) async fn import(&self, bytes: &[u8]) -> Result<(), Problem> {
        let path = self.folder.path().join("backup");
        std::fs::write(&path, bytes).unwrap();
        self.headquarters.import(&path).await.map(drop)
    }
}
