;; From 2030 on, it writes a page to the log, again and again, and then answers what nobody can pay.
(module
  (import "commonhold:policy/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "commonhold:policy/pricing@0.1.0#credit-limit")
    (param $now i64) (param i32 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i32)
    (local $lines i32)
    (if (i64.ge_u (local.get $now) (i64.const 1900000000))
      (then
        (local.set $lines (i32.const 2000))
        (loop $more
          (call $log (i32.const 1) (i32.const 0) (i32.const 65536))
          (br_if $more (local.tee $lines (i32.sub (local.get $lines) (i32.const 1)))))
        (i64.store (i32.const 0) (i64.const -1))))
    i32.const 0)
  ;; The other questions, and all of them before 2030, get what lies at address 0: zeros.
  (func (export "commonhold:policy/pricing@0.1.0#quote") (param i32) (result i32)
    i32.const 0)
  (func (export "commonhold:policy/pricing@0.1.0#ceiling")
    (param i64 i32 i32 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i32)
    i32.const 0)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
