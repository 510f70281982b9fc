;; From 2030 on, it takes memory until there is none, writes to all of it, and gives up.
(module
  (memory (export "memory") 1)
  (func (export "commonhold:policy/pricing@0.1.0#credit-limit")
    (param $now i64) (param i32 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i32)
    (local $at i32)
    (if (i64.ge_u (local.get $now) (i64.const 1900000000))
      (then
        (local.set $at (i32.const 65536))
        (loop $more
          (if (i32.ne (memory.grow (i32.const 16)) (i32.const -1))
            (then
              (loop $touch
                (i32.store8 (local.get $at) (i32.const 1))
                (local.set $at (i32.add (local.get $at) (i32.const 4096)))
                (br_if $touch (i32.and (local.get $at) (i32.const 0xfffff))))
              (br $more))))
        unreachable))
    i32.const 0)
  ;; The other questions, and all of them before 2030, get what lies at address 0: zeros.
  (func (export "commonhold:policy/pricing@0.1.0#quote") (param i32) (result i32)
    i32.const 0)
  (func (export "commonhold:policy/pricing@0.1.0#ceiling")
    (param i64 i32 i32 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i32)
    i32.const 0)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
