//! Capabilities: the parts of root's power, all of them given up.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};
use std::io;

/// No kernel has more: the sets are 64 bits wide.
const CAPABILITIES_MAX: u32 = 64;

/// Takes every capability from the set that bounds what executed programs can get.
///
/// # Errors
/// `EPERM` for who has not the right to; it has no others to give up then, mostly.
pub(super) fn empty_bounding_set() -> io::Result<()> {
    for number in 0..CAPABILITIES_MAX {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        // EINVAL: the kernel has no more.
        let Ok(is_there) = capability_is_in_bounding_set(capability) else { break };
        if is_there {
            remove_capability_from_bounding_set(capability)?;
        }
    }
    Ok(())
}

/// Empties the other sets and looks that they are empty. `bounding` is what [`empty_bounding_set`] said.
///
/// # Errors
/// What the kernel says, or that something was left.
pub(super) fn give_up(bounding: io::Result<()>) -> io::Result<String> {
    // EINVAL: a kernel without ambient set has none in it.
    let _none_there = clear_ambient_capability_set();
    let nothing = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing })?;
    let left = capabilities(None)?;
    if !(left.effective | left.permitted | left.inheritable).is_empty() {
        return Err(io::Error::other("some are left"));
    }
    // Without new privileges nothing of the bounding set can be had any more.
    Ok(if bounding.is_ok() { "none left".to_owned() } else { "none left, others out of reach".to_owned() })
}
