//! A peer that sends whatever it is given, over a real link, with a key of the test's choice.

use branchline_core::backup::Codec;
use branchline_core::code::{Code, Explain};
use branchline_core::limits::UPLOAD_PART_BYTES;
use branchline_core::ports::{LinkError, Offer, OfferAnswer, PeerLink, Signer};
use branchline_core::receipt::Receipt;
use branchline_core::receipt::v1::open_receipt;
use branchline_net::identity::Identity;
use branchline_net::tasks::Tasks;
use branchline_net::v1::client::{HttpLink, LinkContext};
use tokio_util::task::TaskTracker;

use super::{Document, Server};

/// What the receiver made of a document.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It was dealt with; the receipt may say that nothing was applied.
    Receipt(Box<Receipt>, Vec<u8>),
    /// It was refused before there was anything to answer with a receipt.
    Refused(LinkError),
}

impl Verdict {
    /// Asserts that it was refused on the way in, before any of it was read as rows.
    #[track_caller]
    pub(crate) fn refused(self, code: Code) -> LinkError {
        match self {
            Self::Refused(error) => {
                assert_eq!(error.code().name(), code.name(), "{error}");
                error
            }
            Self::Receipt(receipt, _) => panic!("{} was expected, and there is {receipt:?}", code.name()),
        }
    }

    /// Asserts that a signed receipt says that nothing was applied, and answers what it says.
    #[track_caller]
    pub(crate) fn failed(self, code: Code) -> String {
        match self {
            Self::Receipt(receipt, _) => {
                assert!(!receipt.success, "{} was expected, and it was applied", code.name());
                assert_eq!((receipt.records_processed, receipt.errors.len()), (0, 1), "{receipt:?}");
                assert_eq!(receipt.errors[0].code.name(), code.name(), "{receipt:?}");
                receipt.errors[0].message.clone()
            }
            Self::Refused(error) => {
                panic!("a receipt with {} was expected, and there is {error}", code.name())
            }
        }
    }

    /// Asserts that all of it was applied, and answers the receipt and its document.
    #[track_caller]
    pub(crate) fn applied(self) -> (Receipt, Vec<u8>) {
        match self {
            Self::Receipt(receipt, document) if receipt.success => (*receipt, document),
            other => panic!("{other:?}"),
        }
    }
}

/// A link to one server.
pub(crate) struct Courier {
    link: HttpLink,
    target: Identity,
}

impl Courier {
    /// Speaks with that key.
    pub(crate) fn new(identity: &Identity, target: &Server) -> Self {
        let context = LinkContext::new(identity.clone(), Tasks::new(TaskTracker::new()));
        let address = target.address().parse().unwrap();
        let key = target.home.identity.public_key().key_id();
        let link = HttpLink::new(target.home.id.clone(), key, vec![address], &context).unwrap();
        Self { link, target: target.home.identity.clone() }
    }

    pub(crate) fn link(&self) -> &HttpLink {
        &self.link
    }

    /// Uploads a document as zstd, and waits for what comes of it.
    pub(crate) async fn deliver(&self, document: &Document) -> Verdict {
        self.deliver_bytes(document, &document.bytes(Codec::Zstd)).await
    }

    /// Uploads bytes under a document's name and signature.
    pub(crate) async fn deliver_bytes(&self, document: &Document, bytes: &[u8]) -> Verdict {
        match self.answer_to(document, bytes).await {
            Err(error) => Verdict::Refused(error),
            Ok(answer) => {
                let receipt = open_receipt(&answer, self.target.public_key().key_id()).unwrap();
                assert_eq!(receipt.backup, document.backup);
                Verdict::Receipt(Box::new(receipt), answer)
            }
        }
    }

    /// Announces a document.
    pub(crate) async fn offer(&self, document: &Document, codec: Codec) -> Result<OfferAnswer, LinkError> {
        let (document_bytes, signature) = (document.bytes(codec).len() as u64, document.signature.clone());
        self.link.offer(&Offer { backup: document.backup, document_bytes, signature }).await
    }

    /// Uploads bytes, and gives the answer as it came.
    pub(crate) async fn answer_to(&self, document: &Document, bytes: &[u8]) -> Result<Vec<u8>, LinkError> {
        let offer = Offer {
            backup: document.backup,
            document_bytes: bytes.len() as u64,
            signature: document.signature.clone(),
        };
        let mut offset = match self.link.offer(&offer).await? {
            OfferAnswer::Continue { offset } => offset,
            OfferAnswer::Complete => offer.document_bytes,
        };
        while offset < offer.document_bytes {
            let from = usize::try_from(offset).unwrap();
            let part = bytes[from..bytes.len().min(from + UPLOAD_PART_BYTES)].to_vec();
            offset = self.link.send(document.backup, offset, part).await?;
        }
        loop {
            let wait = std::time::Duration::from_secs(20);
            if let Some(receipt) = self.link.receipt(document.backup, wait).await? {
                return Ok(receipt);
            }
        }
    }
}
