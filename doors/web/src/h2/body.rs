//! Bodies of answers that lie ready: memory, files, and several ranges of either, piece by piece.

use crate::answer::{Parts, PlanBody};
use crate::entry::{Content, Entry, FileEntry};
use crate::pipeline::{Reply, Source};
use ringway_engine::Operation;
use ringway_engine::heap::LocalBox;
use ringway_engine::ring::{Handle, Slice};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// A body, and how much of it was sent.
pub(super) struct Body {
    holder: Holder,
    /// What is left of the range that is being sent.
    span: Range<u64>,
    parts: Option<Cursor>,
    /// All bytes that are left.
    left: u64,
    /// What had to be read from a disk.
    pub(super) cold: Cold,
}

/// A read that a disk is waited for with.
pub(super) enum Cold {
    /// The next bytes are at hand, as far as anybody knows.
    No,
    /// It is under way.
    Reading(Operation),
    /// These are the next bytes.
    Read(Slice),
}

/// Where bytes are.
enum Holder {
    Static(&'static [u8]),
    Shared(Arc<[u8]>),
    Bytes(Vec<u8>),
    Entry(Rc<Entry<Handle>>),
}

/// Where among several ranges sending stands: in a head (or the end of all) at a place, or in a range.
struct Cursor {
    parts: LocalBox<Parts>,
    number: usize,
    text_at: Option<usize>,
}

/// The next bytes.
pub(super) enum Piece<'a> {
    /// These.
    Bytes(&'a [u8]),
    /// So many of a file, from an offset on.
    File(&'a Handle, u64, u64),
}

impl Body {
    /// The body of an answer; `None` when it has none. `Err`: plan and source do not fit each other, a handler's mistake.
    pub(super) fn of(reply: Reply) -> Result<Option<Self>, ()> {
        let left = reply.plan.body_len;
        let (holder, span, parts) = match (reply.plan.body, reply.source) {
            (PlanBody::Empty, _) => return Ok(None),
            (PlanBody::Static(text), _) => (Holder::Static(text), 0..text.len() as u64, None),
            (PlanBody::Shared(bytes), _) => {
                let span = 0..bytes.len() as u64;
                (Holder::Shared(bytes), span, None)
            }
            (PlanBody::Memory(range), Source::Bytes(bytes)) => {
                (Holder::Bytes(bytes), range.start as u64..range.end as u64, None)
            }
            (PlanBody::Memory(range), Source::Entry(entry)) => {
                (Holder::Entry(entry), range.start as u64..range.end as u64, None)
            }
            (PlanBody::File { offset, len }, Source::Entry(entry)) => {
                (Holder::Entry(entry), offset..offset + len, None)
            }
            (PlanBody::Parts(parts), Source::Entry(entry)) => {
                (Holder::Entry(entry), 0..0, Some(Cursor { parts, number: 0, text_at: Some(0) }))
            }
            _ => return Err(()),
        };
        Ok((left > 0).then_some(Self { holder, span, parts, left, cold: Cold::No }))
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// All of what is left, if it is in memory in one piece.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        match self.piece() {
            Piece::Bytes(bytes) if bytes.len() as u64 == self.left => Some(bytes),
            _ => None,
        }
    }

    /// The next bytes; never more than are left.
    pub(super) fn piece(&self) -> Piece<'_> {
        if let Cold::Read(bytes) = &self.cold {
            return Piece::Bytes(bytes);
        }
        if let Some(cursor) = &self.parts
            && let Some(at) = cursor.text_at
        {
            return Piece::Bytes(&cursor.text()[at..]);
        }
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let memory = match &self.holder {
            Holder::Static(bytes) => bytes,
            Holder::Shared(bytes) => &**bytes,
            Holder::Bytes(bytes) => bytes,
            Holder::Entry(entry) => match entry.file().map(FileEntry::content) {
                Some(Content::Memory(bytes)) => &**bytes,
                Some(Content::File(file)) => {
                    return Piece::File(file, self.span.start, self.span.end - self.span.start);
                }
                None => &[],
            },
        };
        Piece::Bytes(memory.get(place(self.span.start)..place(self.span.end)).unwrap_or_default())
    }

    /// So many bytes of the piece were sent.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
        if let Cold::Read(rest) = &mut self.cold {
            rest.advance(bytes);
            if rest.is_empty() {
                self.cold = Cold::No;
            }
        }
        let Some(cursor) = &mut self.parts else {
            self.span.start += bytes as u64;
            return;
        };
        match &mut cursor.text_at {
            Some(at) => {
                *at += bytes;
                if cursor.is_text_over() {
                    self.span = cursor.enter_range();
                }
            }
            None => {
                self.span.start += bytes as u64;
                if self.span.is_empty() {
                    cursor.number += 1;
                    cursor.text_at = Some(0);
                }
            }
        }
    }
}

impl Cursor {
    /// The head of the next part, or the end of all.
    fn text(&self) -> &[u8] {
        self.parts.iter().nth(self.number).map_or(self.parts.end(), |(head, _)| head)
    }

    fn is_text_over(&self) -> bool {
        self.text_at.is_some_and(|at| at >= self.text().len())
    }

    /// The range behind the head.
    fn enter_range(&mut self) -> Range<u64> {
        let Some((_, range)) = self.parts.iter().nth(self.number) else { return 0..0 };
        self.text_at = None;
        range.start..range.start + range.len()
    }
}
