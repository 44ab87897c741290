// The backward of a node: a function that is moved and not copied, and stands in the node itself if
// what it captured is small and plain.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "scalar.hpp"

ARGTAPE_PUBLIC_BEGIN

class BackwardContext;

/// Called once in a sweep, with what has arrived at the node (engine/sweep.hpp): anything that can
/// be called so.
class Backward {
 public:
  Backward() = default;
  Backward(std::nullptr_t) {}
  template <class F, class = std::enable_if_t<std::is_invocable_v<F&, BackwardContext&>>>
  Backward(F f) {
    if constexpr (std::is_constructible_v<bool, F&> && !std::is_empty_v<F>)
      if (!f) return;  // a null pointer, an empty std::function
    call_ = &call<F>;
    if constexpr (kPlain<F>) {
      new (room_) F(std::move(f));
    } else {
      new (room_) F*(new F(std::move(f)));
      drop_ = [](void* room) { delete *static_cast<F**>(room); };
    }
  }
  template <class F, std::enable_if_t<!std::is_invocable_v<F&, BackwardContext&>, int> = 0>
  Backward(F) = delete;  // it is [](BackwardContext& ctx) { ctx.give(0, ...); }
  Backward(Backward&& other) noexcept { take(other); }
  Backward& operator=(Backward&& other) noexcept {
    if (this == &other) return *this;
    reset();
    take(other);
    return *this;
  }
  ~Backward() { reset(); }

  void reset() {
    if (drop_) drop_(room_);
    call_ = nullptr;
    drop_ = nullptr;
  }
  explicit operator bool() const { return call_ != nullptr; }
  void operator()(BackwardContext& ctx) const { call_(room_, ctx); }

 private:
  static constexpr std::size_t kRoom = 24;
  template <class F>
  static constexpr bool kPlain = std::is_trivially_copyable_v<F> && sizeof(F) <= kRoom &&
                                 alignof(F) <= alignof(void*);
  template <class F>
  static void call(void* room, BackwardContext& ctx) {
    if constexpr (kPlain<F>)
      (*static_cast<F*>(room))(ctx);
    else
      (**static_cast<F**>(room))(ctx);
  }
  void take(Backward& other) noexcept {
    std::memcpy(static_cast<void*>(this), &other, sizeof *this);
    other.call_ = nullptr;
    other.drop_ = nullptr;
  }

  void (*call_)(void* room, BackwardContext& ctx) = nullptr;
  void (*drop_)(void* room) = nullptr;                // null: nothing to do
  alignas(void*) mutable unsigned char room_[kRoom];  // a lambda may be mutable
};

ARGTAPE_END
