// Temperatures and rates: a number, or a schedule, which is a pure function of the training step.
#pragma once

#include <cstddef>
#include <functional>
#include <type_traits>
#include <utility>

#include "../engine/scalar.hpp"

ARGTAPE_PUBLIC_BEGIN

using Schedule = std::function<double(std::size_t step)>;

/// max(floor, start * exp(-rate * step)), refreshed every `every` steps (Jang, Gu, Poole, arXiv
/// 1611.01144, section 4.2). Throws std::invalid_argument unless start, floor > 0, rate >= 0 and
/// every >= 1.
Schedule exponential_decay(double start, double rate, double floor, std::size_t every = 1);

/// From `start` at step 0 in a straight line to `end` at step `steps`, and `end` from there on.
/// Throws std::invalid_argument unless start > 0, end >= 0 and steps >= 1. A rate may end at 0; a
/// temperature of 0 is refused by the rule that takes it.
Schedule linear_decay(double start, double end, std::size_t steps);

/// What a rule takes for its temperature, and an optimiser for its rate.
class Scheduled {
 public:
  Scheduled(double x) : number_(x) {}
  /// Any function of the step.
  template <class F, class = std::enable_if_t<std::is_invocable_r_v<double, F, std::size_t>>>
  Scheduled(F schedule) : schedule_(std::move(schedule)) {}
  bool scheduled() const { return static_cast<bool>(schedule_); }
  double at(std::size_t step) const { return schedule_ ? schedule_(step) : number_; }

 private:
  double number_ = 0;
  Schedule schedule_;
};
using Temperature = Scheduled;
using Rate = Scheduled;

ARGTAPE_END
