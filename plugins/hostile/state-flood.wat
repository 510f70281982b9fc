;; From 2030 on, it stores more than a state may hold, does not mind the refusals, and gives up.
(module
  (import "commonhold:policy/state@0.1.0" "set" (func $set (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "commonhold:policy/pricing@0.1.0#credit-limit")
    (param $now i64) (param i32 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i32)
    (local $number i32)
    (if (i64.ge_u (local.get $now) (i64.const 1900000000))
      (then
        (loop $more
          ;; The key: four letters of a number that counts up.
          (i32.store (i32.const 64)
            (i32.add
              (i32.const 0x61616161)
              (i32.or
                (i32.and (local.get $number) (i32.const 15))
                (i32.shl (i32.and (local.get $number) (i32.const 0xff0)) (i32.const 4)))))
          (drop (call $set (i32.const 64) (i32.const 4) (i32.const 4096) (i32.const 4096)))
          (local.set $number (i32.add (local.get $number) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $number) (i32.const 256))))
        unreachable))
    i32.const 0)
  ;; The other questions, and all of them before 2030, get what lies at address 0: zeros.
  (func (export "commonhold:policy/pricing@0.1.0#quote") (param i32) (result i32)
    i32.const 0)
  (func (export "commonhold:policy/pricing@0.1.0#ceiling")
    (param i64 i32 i32 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i32)
    i32.const 0)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
