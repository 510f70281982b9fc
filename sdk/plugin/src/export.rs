//! The macros that make a component of a type.
//!
//! They do something on WebAssembly alone; elsewhere they check that the type has the trait.

/// Makes the crate a placement plugin: `export_placement!(Type)`, or `export_placement!(Type, log)` for
/// one whose panics are to be read by the operator, which needs the capability `log`.
#[macro_export]
macro_rules! export_placement {
    ($policy:ty $(, $log:ident)?) => {
        $crate::__export!(placement, $policy $(, $log)?, {
            fn choose_code(now: Moment, candidates: Vec<Candidate>) -> Code;
            fn rank(need: Need, taken: Vec<Candidate>, candidates: Vec<Candidate>) -> Vec<u32>;
            fn admit(offer: Offer) -> Verdict;
        }, Placement);
    };
}

/// Makes the crate a transport plugin: `export_transport!(Type)`, or `export_transport!(Type, log)` for
/// one whose panics are to be read by the operator, which needs the capability `log`.
#[macro_export]
macro_rules! export_transport {
    ($policy:ty $(, $log:ident)?) => {
        $crate::__export!(transport, $policy $(, $log)?, {
            fn dial(now: Moment, peer: Key, addresses: Vec<Address>) -> DialPlan;
            fn limit(now: Moment, traffic: Traffic) -> Limits;
            fn fetch(need: Need, sources: Vec<Source>) -> FetchPlan;
            fn send(need: Need) -> u32;
            fn admit(connection: Connection) -> Verdict;
        }, Transport);
    };
}

/// Makes the crate a pricing plugin: `export_pricing!(Type)`, or `export_pricing!(Type, log)` for one
/// whose panics are to be read by the operator, which needs the capability `log`.
#[macro_export]
macro_rules! export_pricing {
    ($policy:ty $(, $log:ident)?) => {
        $crate::__export!(pricing, $policy $(, $log)?, {
            fn quote(request: Request) -> Prices;
            fn credit_limit(request: CreditRequest) -> Credit;
            fn ceiling(market: Market) -> Prices;
        }, Pricing);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($world:ident, $policy:ty $(, $log:ident)?, {
        $(fn $function:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*
    }, $trait:ident) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::$world::*;

            struct Exported;

            impl $crate::bindings::$world::exports::commonhold::policy::$world::Guest for Exported {
                $(fn $function($($argument: $type),*) -> $answer {
                    <$policy as $trait>::$function($($argument),*)
                })*
            }

            $crate::bindings::$world::export!(Exported with_types_in $crate::bindings::$world);
            $crate::__panic!($($log)?);
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn is_a_policy<T: $crate::$world::$trait>() {}
            is_a_policy::<$policy>()
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __panic {
    () => {
        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            $crate::guest::trap()
        }
    };
    (log) => {
        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::guest::tell_and_trap(info)
        }
    };
}
