;; From 2030 on, it hands bytes to the log that are not text.
(module
  (import "commonhold:policy/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "\ff\fe\fd\fc")
  (func (export "commonhold:policy/pricing@0.1.0#credit-limit")
    (param $now i64) (param i32 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i32)
    (if (i64.ge_u (local.get $now) (i64.const 1900000000))
      (then
        (call $log (i32.const 3) (i32.const 64) (i32.const 4))))
    i32.const 0)
  ;; The other questions, and all of them before 2030, get what lies at address 0: zeros.
  (func (export "commonhold:policy/pricing@0.1.0#quote") (param i32) (result i32)
    i32.const 0)
  (func (export "commonhold:policy/pricing@0.1.0#ceiling")
    (param i64 i32 i32 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i32)
    i32.const 0)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
