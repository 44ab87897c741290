#include "engine/gradient_store.hpp"

#include <algorithm>

#include "engine/broadcast.hpp"
#include "engine/system/parallel.hpp"

ARGTAPE_PRIVATE_BEGIN

void GradientStore::add(std::uint32_t i, Var gradient) {
  vars_[i] = has(i) ? add_same(vars_[i], gradient) : gradient;
}

Tensor& GradientStore::whole(std::uint32_t i) {
  Tensor& t = pool_[slot_[i]];
  if (t.shape() != shape_of(i)) t = broadcast_to(t, shape_of(i));
  return t;
}

Tensor& GradientStore::take(std::uint32_t i) {
  if (idle_.empty()) {
    idle_.push_back(static_cast<std::uint32_t>(pool_.size()));
    pool_.emplace_back();
  }
  slot_[i] = idle_.back();
  idle_.pop_back();
  return pool_[slot_[i]];
}

Tensor& GradientStore::open(std::uint32_t i, bool& fresh) {
  fresh = slot_[i] == kNone;
  if (!fresh) return whole(i);
  Tensor& t = take(i);
  t.resize(shape_of(i));
  return t;
}

void GradientStore::add(std::uint32_t i, Tensor&& gradient) {
  if (has(i)) return add_to(whole(i), gradient);
  take(i) = std::move(gradient);
}

void GradientStore::add_copy(std::uint32_t i, const Tensor& gradient) {
  bool fresh;
  Tensor& t = open(i, fresh);
  if (!fresh)
    return add_to(t, gradient.size() == t.size() ? gradient : broadcast_to(gradient, t.shape()));
  if (gradient.size() != t.size()) t.resize(gradient.shape());
  parallel_for(gradient.size(), kGrain, [&](std::size_t begin, std::size_t end) {
    std::copy(gradient.data() + begin, gradient.data() + end, t.data() + begin);
  });
}

void GradientStore::drop(std::uint32_t i) {
  if (slot_.empty() || slot_[i] == kNone) return;
  // The next gradient comes in a tensor of its own, most likely: let that have the memory.
  if (Tensor& t = pool_[slot_[i]]; t.size() >= kWorthReleasing) t.resize(Shape{0});
  idle_.push_back(slot_[i]);
  slot_[i] = kNone;
}

ARGTAPE_END
