//! The types of JSON paths that contain other values: arrays, maps, tuples, objects and shapes.

use std::borrow::Cow;

use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
    value::{
        Geometry, JsonPaths, JsonText, LineString, Map, MultiLineString, MultiPolygon, Point, json_guess,
        json_text::{JsonPath, object},
        tuple::{end, next},
    },
};

impl<P: JsonPaths> JsonPath for JsonText<'_, P> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        match json.peek()? {
            Kind::Object => object::<P>(json),
            Kind::Null => Ok(json.null()?),
            _ => Err(ValueError::WrongKind),
        }
    }

    fn may_take(json: &Reader<'_>) -> bool {
        json_guess::is_of(Kind::Object, &mut json.clone())
    }
}

impl JsonPath for Geometry {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        let start = json.position();
        for check in [
            MultiPolygon::check,
            MultiLineString::check,
            LineString::check,
            Point::check,
        ] {
            match check(json) {
                Err(ValueError::Syntax(error)) => return Err(ValueError::Syntax(error)),
                Err(_) => json.seek(start),
                Ok(()) => return Ok(()),
            }
        }
        Err(ValueError::NoneOfTheTypes)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        json_guess::is_of(Kind::Array, &mut json.clone())
    }
}

/// The keys are text. `json_text` checks that none is repeated.
impl<V: JsonPath> JsonPath for Map<Cow<'_, str>, V> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        match json.peek()? {
            Kind::Object => {}
            Kind::Null => return Ok(json.null()?),
            _ => return Err(ValueError::WrongKind),
        }
        json.begin_object()?;
        while json.next_key()?.is_some() {
            V::check(json)?;
        }
        Ok(())
    }

    fn may_take(json: &Reader<'_>) -> bool {
        let entries = || json_guess::entries(json, |_, value| V::may_take(value));
        json_guess::is_of(Kind::Null, &mut json.clone()) || entries().is_some()
    }
}

macro_rules! tuple_path {
    ($($type:ident),+) => {
        impl<$($type: JsonPath),+> JsonPath for ($($type,)+) {
            fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
                match json.peek()? {
                    Kind::Array => {}
                    Kind::Null => return Ok(json.null()?),
                    _ => return Err(ValueError::WrongKind),
                }
                json.begin_array()?;
                $(
                    next(json)?;
                    $type::check(json)?;
                )+
                end(json)
            }

            /// ClickHouse fills in missing elements at the end, and reads an object by the position
            /// of its values.
            fn may_take(json: &Reader<'_>) -> bool {
                may_take_elements(json, &[$(<$type as JsonPath>::may_take),+], |_| true)
            }
        }
    };
}

tuple_path!(A);
tuple_path!(A, B);
tuple_path!(A, B, C);
tuple_path!(A, B, C, D);
tuple_path!(A, B, C, D, E);
tuple_path!(A, B, C, D, E, F);
tuple_path!(A, B, C, D, E, F, G);
tuple_path!(A, B, C, D, E, F, G, H);
tuple_path!(A, B, C, D, E, F, G, H, I);
tuple_path!(A, B, C, D, E, F, G, H, I, J);
tuple_path!(A, B, C, D, E, F, G, H, I, J, K);
tuple_path!(A, B, C, D, E, F, G, H, I, J, K, L);

/// Returns whether the value may be an array of the elements, perhaps without the last ones, or an
/// object with one of their keys.
pub fn may_take_elements(
    json: &Reader<'_>,
    elements: &[fn(&Reader<'_>) -> bool],
    is_key: impl Fn(&str) -> bool,
) -> bool {
    match json.clone().peek() {
        Ok(Kind::Null) => true,
        Ok(Kind::Array) => {
            let element =
                |index: usize, value: &Reader<'_>| elements.get(index).is_some_and(|may_take| may_take(value));
            json_guess::elements(json, element).is_some_and(|count| count > 0)
        }
        // The first known key stops the walk.
        Ok(Kind::Object) => json_guess::entries(json, |key, _| !is_key(key)).is_none(),
        _ => false,
    }
}

/// Declares a named tuple at a path of JSON: an object with at least one of its elements and none
/// twice, or an array of all.
#[macro_export]
macro_rules! path_tuple {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident { $($element:literal: $type:ty),+ $(,)? }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        $visibility struct $name;

        impl $crate::value::JsonPath for $name {
            fn check(json: &mut $crate::json::Reader<'_>) -> ::std::result::Result<(), $crate::refusal::ValueError> {
                $crate::value::__check_elements(
                    json,
                    &[$(($element, <$type as $crate::value::JsonPath>::check)),+],
                )
            }

            fn may_take(json: &$crate::json::Reader<'_>) -> bool {
                $crate::value::__may_take_elements(
                    json,
                    &[$(<$type as $crate::value::JsonPath>::may_take),+],
                    |key| [$($element),+].contains(&key),
                )
            }
        }
    };
}

/// Checks the value of an element.
type Check = fn(&mut Reader<'_>) -> Result<(), ValueError>;

/// Reads a tuple with names.
pub fn check_elements(json: &mut Reader<'_>, elements: &[(&str, Check)]) -> Result<(), ValueError> {
    match json.peek()? {
        Kind::Null => Ok(json.null()?),
        Kind::Array => {
            json.begin_array()?;
            for (_, check) in elements {
                next(json)?;
                check(json)?;
            }
            end(json)
        }
        Kind::Object => {
            let mut seen = Vec::new();
            json.begin_object()?;
            while let Some(key) = json.next_key()? {
                let element = elements.iter().position(|(name, _)| *name == key);
                let index = element.ok_or(ValueError::UnknownName)?;
                if seen.contains(&index) {
                    return Err(ValueError::PathTwice);
                }
                seen.push(index);
                (elements[index].1)(json)?;
            }
            // ClickHouse refuses an object with none of the elements.
            if seen.is_empty() {
                Err(ValueError::WrongLength)
            } else {
                Ok(())
            }
        }
        _ => Err(ValueError::WrongKind),
    }
}

impl<T: JsonPath> JsonPath for Vec<T> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        match json.peek()? {
            Kind::Array => {}
            Kind::Null => return Ok(json.null()?),
            _ => return Err(ValueError::WrongKind),
        }
        json.begin_array()?;
        while json.next_element()? {
            T::check(json)?;
        }
        Ok(())
    }

    fn may_take(json: &Reader<'_>) -> bool {
        let elements = || json_guess::elements(json, |_, value| T::may_take(value));
        json_guess::is_of(Kind::Null, &mut json.clone()) || elements().is_some()
    }
}
