//! Frames that carry no message: settings, windows, resets, pings, farewells (RFC 9113 sections 6.3 to 6.9).

use super::{Link, Side, StreamEvent};
use crate::buffers::Buffers;
use crate::code::{Code, Fault};
use crate::frame::{Head, Kind, PAYLOAD_BYTES, WINDOW_MAX, flag, setting, write_ping, write_settings_ack};
use crate::streams::Past;

/// Largest payload that a peer can say it takes (section 6.5.2).
const FRAME_BYTES_MAX: u32 = (1 << 24) - 1;

impl Link {
    /// A frame that carries no message and means the same to both sides.
    pub(crate) fn control(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<StreamEvent>, Fault> {
        match head.kind {
            Kind::SETTINGS => self.settings(head, payload, now_ms, buffers).map(|()| None),
            Kind::WINDOW_UPDATE => self.window_update(head, payload, now_ms, buffers),
            Kind::RST_STREAM => self.reset_by_peer(head, payload, now_ms, buffers),
            Kind::PRIORITY => self.priority(head, payload, now_ms, buffers),
            // Section 8.4: a client cannot push, and a server must not where it was told so.
            Kind::PUSH_PROMISE => Err(Fault::Push),
            // Section 5.5: what is unknown is ignored.
            _ => self.count_idle_frame(now_ms).map(|()| None),
        }
    }

    /// Section 6.5.
    fn settings(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(Fault::NeedsConnection);
        }
        self.count_idle_frame(now_ms)?;
        if head.has(flag::ACK) {
            return if payload.is_empty() { Ok(()) } else { Err(Fault::FrameForm) };
        }
        let (entries, []) = payload.as_chunks::<6>() else { return Err(Fault::FrameForm) };
        if entries.len() > self.limits.settings_max as usize {
            return Err(Fault::SettingsLength);
        }
        for &[a, b, c, d, e, f] in entries {
            self.apply(u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]))?;
        }
        write_settings_ack(&mut buffers.out);
        Ok(())
    }

    /// Section 6.5.2. Frames sent here are never larger than every peer takes, so the size of frames is only checked; and
    /// heads of answers are as long as they are.
    fn apply(&mut self, name: u16, value: u32) -> Result<(), Fault> {
        match name {
            setting::HEADER_TABLE_SIZE => self.encoder.resize(value as usize),
            setting::ENABLE_PUSH | setting::ENABLE_CONNECT_PROTOCOL if value > 1 => {
                return Err(Fault::SettingValue);
            }
            // A server cannot be pushed to.
            setting::ENABLE_PUSH if value != 0 && self.side == Side::Client => {
                return Err(Fault::SettingValue);
            }
            setting::MAX_CONCURRENT_STREAMS => self.peer_streams_max = value,
            setting::MAX_FRAME_SIZE if value < narrow(PAYLOAD_BYTES) || value > FRAME_BYTES_MAX => {
                return Err(Fault::SettingValue);
            }
            setting::INITIAL_WINDOW_SIZE => {
                if value > WINDOW_MAX {
                    return Err(Fault::SettingWindow);
                }
                // Section 6.9.2: the windows of all streams move by the difference.
                let moved = i64::from(value) - self.peer_window;
                self.peer_window = i64::from(value);
                if !self.streams.move_send_windows(moved) {
                    return Err(Fault::WindowSize);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Section 6.7. What the peer has acknowledged, if that is what it is.
    pub(crate) fn ping(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<[u8; 8]>, Fault> {
        if head.stream != 0 {
            return Err(Fault::NeedsConnection);
        }
        let Ok(payload) = <[u8; 8]>::try_from(payload) else { return Err(Fault::FrameForm) };
        self.count_idle_frame(now_ms)?;
        if head.has(flag::ACK) {
            return Ok(Some(payload));
        }
        write_ping(&mut buffers.out, true, payload);
        Ok(None)
    }

    /// Section 6.9.
    fn window_update(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<StreamEvent>, Fault> {
        let Ok(step) = <[u8; 4]>::try_from(payload) else { return Err(Fault::FrameForm) };
        let step = u32::from_be_bytes(step) & WINDOW_MAX;
        self.count_idle_frame(now_ms)?;
        if head.stream == 0 {
            if step == 0 {
                return Err(Fault::WindowStep);
            }
            self.send_window += i64::from(step);
            return if self.send_window > i64::from(WINDOW_MAX) { Err(Fault::WindowSize) } else { Ok(None) };
        }
        let Some(state) = self.streams.get(head.stream) else {
            // Section 5.1: on a stream that has ended it may still come.
            return if self.is_idle(head.stream) { Err(Fault::IdleStream) } else { Ok(None) };
        };
        if step == 0 {
            return self.fail_stream(head.stream, Code::PROTOCOL_ERROR, now_ms, buffers);
        }
        state.send_window += i64::from(step);
        if state.send_window > i64::from(WINDOW_MAX) {
            return self.fail_stream(head.stream, Code::FLOW_CONTROL_ERROR, now_ms, buffers);
        }
        Ok(None)
    }

    /// Section 6.4.
    fn reset_by_peer(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<StreamEvent>, Fault> {
        if head.stream == 0 {
            return Err(Fault::NeedsStream);
        }
        let Ok(code) = <[u8; 4]>::try_from(payload) else { return Err(Fault::FrameForm) };
        if self.is_idle(head.stream) {
            return Err(Fault::IdleStream);
        }
        self.count_reset(now_ms)?;
        let lived = self.end_stream(head.stream, Past::Ended, buffers);
        let code = Code(u32::from_be_bytes(code));
        Ok(lived.then_some(StreamEvent::Reset { stream: head.stream, code, is_by_peer: true }))
    }

    /// Section 6.3: what it says is ignored, how it says it is not.
    fn priority(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<StreamEvent>, Fault> {
        if head.stream == 0 {
            return Err(Fault::NeedsStream);
        }
        self.count_idle_frame(now_ms)?;
        match payload.len() {
            5 => Ok(None),
            // An idle stream cannot be reset (section 6.4).
            _ if self.is_idle(head.stream) => Err(Fault::FrameForm),
            _ => self.fail_stream(head.stream, Code::FRAME_SIZE_ERROR, now_ms, buffers),
        }
    }

    /// Section 6.8. The last stream that the peer has served, or may serve still.
    pub(crate) fn goaway_by_peer(&mut self, head: Head, payload: &[u8], now_ms: u64) -> Result<u32, Fault> {
        if head.stream != 0 {
            return Err(Fault::NeedsConnection);
        }
        let Some((last, _code_and_more)) =
            payload.split_first_chunk::<4>().filter(|(_, rest)| rest.len() >= 4)
        else {
            return Err(Fault::FrameForm);
        };
        self.count_idle_frame(now_ms)?;
        self.is_peer_leaving = true;
        Ok(u32::from_be_bytes(*last) & WINDOW_MAX)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a constant below 2^24")]
const fn narrow(bytes: usize) -> u32 {
    bytes as u32
}
