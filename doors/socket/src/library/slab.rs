//! Things in places that have numbers, which are words of connections and peers. An old number finds nothing.

/// A table of things.
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

struct Place<T> {
    generation: u32,
    thing: Option<T>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// Takes a thing: its number, which is never 0. `None`: four thousand million are there already.
    pub(super) fn insert(&mut self, thing: T) -> Option<u64> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.places.len()).ok().filter(|index| *index < u32::MAX)?;
                self.places.push(Place { generation: 0, thing: None });
                index
            }
        };
        let place = self.places.get_mut(index as usize)?;
        place.generation = place.generation.wrapping_add(1);
        place.thing = Some(thing);
        Some(u64::from(place.generation) << 32 | (u64::from(index) + 1))
    }

    #[inline]
    pub(super) fn get(&self, number: u64) -> Option<&T> {
        let (index, generation) = split(number)?;
        let place = self.places.get(index).filter(|place| place.generation == generation)?;
        place.thing.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let (index, generation) = split(number)?;
        let place = self.places.get_mut(index).filter(|place| place.generation == generation)?;
        place.thing.as_mut()
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        let (index, generation) = split(number)?;
        let place = self.places.get_mut(index).filter(|place| place.generation == generation)?;
        let thing = place.thing.take()?;
        self.free.push(u32::try_from(index).ok()?);
        Some(thing)
    }

    /// Takes out all that are `wanted`.
    pub(super) fn drain(&mut self, wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for (index, place) in self.places.iter_mut().enumerate() {
            if place.thing.as_ref().is_some_and(&wanted) {
                taken.extend(place.thing.take());
                self.free.extend(u32::try_from(index));
            }
        }
        taken
    }
}

/// Index and generation of a number.
#[inline]
fn split(number: u64) -> Option<(usize, u32)> {
    let index = u32::try_from(number & 0xffff_ffff).ok()?.checked_sub(1)?;
    Some((index as usize, u32::try_from(number >> 32).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_number_finds_nothing() {
        let mut slab = Slab::new();
        let one = slab.insert("one").expect("room");
        let two = slab.insert("two").expect("room");
        assert_eq!((slab.get(one), slab.get(two)), (Some(&"one"), Some(&"two")));
        assert_eq!(slab.remove(one), Some("one"));
        assert_eq!(
            (slab.remove(one), slab.get(one), slab.get(0), slab.get(u64::MAX)),
            (None, None, None, None)
        );
        let three = slab.insert("three").expect("room");
        assert_ne!(one, three);
        assert_eq!(slab.get_mut(three).copied(), Some("three"));
        assert_eq!((slab.get(one), slab.get(three)), (None, Some(&"three")));
        assert_eq!(slab.drain(|thing| thing.len() > 3), ["three"]);
        assert_eq!((slab.get(three), slab.get(two)), (None, Some(&"two")));
    }
}
