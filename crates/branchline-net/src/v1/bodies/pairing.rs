//! `POST /v1/pair`: what a joining server says, and what the inviting one answers.
//!
//! ```json
//! {"token":"hex of 4 bytes","proof":"base64 of 32 bytes","server":"STORE-001","name":"Store 1","addresses":["a:8443"]}
//! {"server":"HQ","name":"Head office","addresses":["hq.example:8443"],"words":"four words to compare aloud"}
//! ```
//! The key, the exporter and where the call comes from are not in the body: they are the connection's.

use branchline_core::pairing::{Exporter, PairAnswer, PairRequest, Proof};
use branchline_core::peer::PeerAddress;
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};

use super::{BodyError, read, write};
use crate::connection::Caller;
use crate::peer_text::cleaned;

/// Addresses that a server may have.
const ADDRESSES_MAX: usize = 16;

#[derive(Serialize, Deserialize)]
struct PairRequestBody {
    token: String,
    proof: String,
    server: String,
    name: String,
    addresses: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct PairAnswerBody {
    server: String,
    name: String,
    addresses: Vec<String>,
    words: String,
}

/// The exporter, the key and the place of the request are the connection's own and are not written.
pub(in crate::v1) fn write_pair_request(request: &PairRequest) -> Vec<u8> {
    write(&PairRequestBody {
        token: HEXLOWER.encode(&request.token),
        proof: BASE64.encode(&request.proof.0),
        server: request.server.to_string(),
        name: request.name.clone(),
        addresses: request.addresses.iter().map(ToString::to_string).collect(),
    })
}

pub(in crate::v1) fn read_pair_request(
    body: &[u8],
    caller: &Caller,
    exporter: Exporter,
) -> Result<PairRequest, BodyError> {
    let body: PairRequestBody = read(body)?;
    let token = HEXLOWER.decode(body.token.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    let proof = BASE64.decode(body.proof.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    Ok(PairRequest {
        token: token.ok_or_else(|| BodyError::member("token"))?,
        proof: Proof(proof.ok_or_else(|| BodyError::member("proof"))?),
        exporter,
        key: caller.key,
        server: body.server.parse().map_err(|_| BodyError::member("server"))?,
        name: cleaned(&body.name),
        addresses: addresses_of(&body.addresses)?,
        from: caller.remote.clone(),
    })
}

pub(in crate::v1) fn write_pair_answer(answer: &PairAnswer) -> Vec<u8> {
    write(&PairAnswerBody {
        server: answer.server.to_string(),
        name: answer.name.clone(),
        addresses: answer.addresses.iter().map(ToString::to_string).collect(),
        words: answer.words.clone(),
    })
}

pub(in crate::v1) fn read_pair_answer(body: &[u8]) -> Result<PairAnswer, BodyError> {
    let body: PairAnswerBody = read(body)?;
    Ok(PairAnswer {
        server: body.server.parse().map_err(|_| BodyError::member("server"))?,
        name: cleaned(&body.name),
        addresses: addresses_of(&body.addresses)?,
        words: cleaned(&body.words),
    })
}

fn addresses_of(texts: &[String]) -> Result<Vec<PeerAddress>, BodyError> {
    if texts.len() > ADDRESSES_MAX {
        return Err(BodyError::member("addresses"));
    }
    texts.iter().map(|text| text.parse().map_err(|_| BodyError::member("addresses"))).collect()
}
