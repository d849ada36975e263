//! Pairs of schemas of one table, before and after one kind of change.

macro_rules! kinds {
    ($($kind:ident: $doc:literal),*) => {
        $(
            #[doc = $doc]
            pub mod $kind {
                /// The table before the change.
                pub mod before {
                    include!(concat!(env!("OUT_DIR"), "/", stringify!($kind), "_before.rs"));
                }

                /// The table after the change.
                pub mod after {
                    include!(concat!(env!("OUT_DIR"), "/", stringify!($kind), "_after.rs"));
                }
            }
        )*
    };
}

kinds! {
    rename: "A column gets another name and another type.",
    widen: "Columns get types with more values.",
    narrow: "A column gets a type with fewer values.",
    remove: "A column is dropped.",
    reorder: "The columns get another order.",
    add: "A column is added between others.",
    rekey: "The table gets another sorting key.",
    sharded: "A table over two shards gets a column.",
    rows: "A table of numbered rows over two shards gets a column.",
    replicated: "A table over shards with replicas gets a column, and another table comes."
}

/// Tables over the shards of a cluster, each with another sharding key.
pub mod sharding_keys {
    include!(concat!(env!("OUT_DIR"), "/keys_fleet.rs"));
}
