//! An eStargz layer of which the store has a part.
//!
//! Left out are the chunks of large files that are here; everything else is fetched member by member and inflated, which
//! gives the very tar of the layer.

use std::io::{self, BufReader, Write};

use super::{GAP, Local, Request, exactly, kept, tell, unpack};
use crate::engine::registry::ranges::Ranges;
use crate::engine::store::StagedLayer;
use crate::engine::store::diff::Applied;
use crate::engine::store::diff::chunked::estargz;
use crate::engine::store::diff::chunked::toc::{Part, Span, Toc};
use crate::engine::{Digest, Error, Result};

/// [`super::fetch`] for eStargz.
pub(super) fn fetch(request: &Request<'_>, staged: &StagedLayer) -> Result<Option<Applied>> {
    let blob = &request.layer.blob;
    let annotation = blob.annotations.as_ref().and_then(|all| all.get(estargz::TOC_DIGEST));
    let digest = Digest::parse(annotation.map(String::as_str).unwrap_or_default())?;
    let footer = blob.size.saturating_sub(estargz::FOOTER);
    let mut ranges = request.repository.ranges(&blob.digest, vec![(footer, blob.size)], request.cancel);
    let place = estargz::place(&ranges.read_all(footer, blob.size)?, blob.size)?;
    let mut fetched = ranges.received();
    drop(ranges);
    let mut ranges = request.repository.ranges(&blob.digest, vec![(place.start, place.end)], request.cancel);
    let member = ranges.read_all(place.start, place.end)?;
    fetched += ranges.received();
    drop(ranges);
    let toc = kept(staged, |file| estargz::inflate_checked(&member, &digest, file))?;
    let local = Local::find(request.engine, &toc)?;
    let pieces = pieces(&toc, &local, place.start)?;
    if !pieces.iter().any(|piece| matches!(piece, Piece::Here(..))) {
        return Ok(None);
    }
    let wanted = pieces.iter().filter_map(|piece| match piece {
        Piece::Fetched(span) => Some((span.start, span.end)),
        Piece::Here(..) => None,
    });
    let mut ranges = request.repository.ranges(&blob.digest, wanted.collect(), request.cancel);
    let applied = unpack(request, staged, |out| {
        for piece in &pieces {
            match piece {
                Piece::Fetched(span) => inflate(&mut ranges, *span, out)?,
                Piece::Here(file, part) => here(&toc, &local, *file, part, out)?,
            }
            (request.received)(fetched + ranges.received());
        }
        let inflated = io::copy(&mut flate2::bufread::MultiGzDecoder::new(&member[..]), out);
        inflated.map(drop).map_err(failed)
    })?;
    local.share(request.engine, &toc, staged);
    tell(request, fetched + ranges.received());
    Ok(Some(applied))
}

/// The tar before the table of contents, in its order.
enum Piece<'a> {
    /// Whole members of the blob.
    Fetched(Span),
    /// A chunk of the file with this number.
    Here(usize, &'a Part),
}

/// `Corrupt` if a content lies behind `end`.
fn pieces<'a>(toc: &'a Toc, local: &Local, end: u64) -> Result<Vec<Piece<'a>>> {
    let (mut pieces, mut at) = (Vec::new(), 0);
    for (number, part) in toc.members_of_their_own() {
        let is_here =
            local.by_sum.contains_key(&part.sum) || local.by_sum.contains_key(&toc.files[number].sum);
        if !is_here || part.span.end - part.span.start <= GAP {
            continue;
        }
        if part.span.start > at {
            pieces.push(Piece::Fetched(Span { start: at, end: part.span.start }));
        }
        pieces.push(Piece::Here(number, part));
        at = part.span.end;
    }
    if at >= end {
        return Err(Error::corrupt("the layer's contents lie behind its table of contents"));
    }
    pieces.push(Piece::Fetched(Span { start: at, end }));
    Ok(pieces)
}

fn inflate(ranges: &mut Ranges, span: Span, out: &mut dyn Write) -> Result<()> {
    let compressed = BufReader::with_capacity(64 << 10, ranges.span(span.start, span.end));
    io::copy(&mut flate2::bufread::MultiGzDecoder::new(compressed), out).map(drop).map_err(failed)
}

fn here(toc: &Toc, local: &Local, file: usize, part: &Part, out: &mut dyn Write) -> Result<()> {
    let whole = || local.by_sum.get(&toc.files[file].sum).map(|found| (found, part.at));
    let found = local.by_sum.get(&part.sum).map(|found| (found, 0)).or_else(whole);
    let (found, at) = found.ok_or_else(|| Error::corrupt("a content is gone"))?;
    exactly(&mut local.open_at(found, at, part.size)?, part.size, out)
}

fn failed(e: io::Error) -> Error {
    match e.downcast::<Error>() {
        Ok(ours) => ours,
        Err(e) => Error::corrupt("a part of the layer cannot be inflated").with_source(e),
    }
}
