#include "engine/gradients.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"

ARGTAPE_PUBLIC_BEGIN

Gradients::Gradients(Inputs of, std::vector<Tensor> gradients) {
  require(of.size() == gradients.size(), "Gradients: ", gradients.size(), " gradients for ",
          of.size(), " Vars; need one for each");
  if (of.size() == 0) return;
  tape_ = tape_of("Gradients", of).serial();
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    require(gradients[i].shape() == of[i].shape(), "Gradients: gradient ", i, " is ",
            gradients[i].shape(), ", its Var ", of[i].shape(), "; need the same shape");
    entries_.push_back(
        {of[i].index, true, std::move(gradients[i]), of[i].tape->node(of[i].index).op.name});
  }
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.index < b.index; });
  for (std::size_t i = 1; i < entries_.size(); ++i)
    require(entries_[i - 1].index != entries_[i].index, "Gradients: node ", entries_[i].index,
            " is there twice; need one gradient for each Var");
}

const Gradients::Entry& Gradients::entry(Var v) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), v.index,
                                   [](const Entry& e, std::uint32_t i) { return e.index < i; });
  if (!v.tape || v.tape->serial() != tape_ || at == entries_.end() || at->index != v.index)
    refuse("gradients: node ", v.index,
           " is neither a parameter of this tape nor among the Vars asked for");
  return *at;
}

const Tensor& Gradients::operator[](Var v) const& { return entry(v).gradient; }
Tensor Gradients::operator[](Var v) && { return entry(v).gradient; }
bool Gradients::reached(Var v) const { return entry(v).reached; }

Gradients& Gradients::operator*=(double factor) {
  require(std::isfinite(factor), "Gradients: *= ", factor, "; need a finite number");
  const auto times = [factor](Scalar x) {
    return static_cast<Scalar>(static_cast<double>(x) * factor);
  };
  for (const Entry& e : entries_)
    for (Scalar x : e.gradient)
      require(std::isfinite(times(x)) || !std::isfinite(x), "Gradients: *= ", factor,
              " takes the gradient of node ", e.index,
              " out of Scalar's range; need a smaller number");
  for (Entry& e : entries_)
    for (Scalar& x : e.gradient) x = times(x);
  return *this;
}

Gradients& Gradients::operator+=(const Gradients& other) {
  if (other.entries_.empty()) return *this;
  if (entries_.empty()) return *this = other;
  require(entries_.size() == other.entries_.size(), "Gradients: ", entries_.size(),
          " += ", other.entries_.size(), " of them; need as many of each");
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Entry &mine = entries_[i], &added = other.entries_[i];
    require(mine.gradient.shape() == added.gradient.shape() &&
                (tape_ != other.tape_ || mine.index == added.index),
            "Gradients: gradient ", i, " is ", mine.gradient.shape(), " of node ", mine.index,
            ", what is added ", added.gradient.shape(), " of node ", added.index,
            "; need those of the same parameters");
  }
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    entries_[i].reached |= other.entries_[i].reached;
    add_to(entries_[i].gradient, other.entries_[i].gradient);
  }
  return *this;
}

double Gradients::norm() const {
  double all = 0;
  for (const Entry& e : entries_) all = std::hypot(all, argtape::norm(e.gradient));
  return all;
}

void Gradients::check_clip(const char* op, double most) const {
  using Limits = std::numeric_limits<Scalar>;
  require(most >= static_cast<double>(Limits::min()) && most <= static_cast<double>(Limits::max()),
          op, ": the most is ", most, "; need more than 0, and a number that Scalar can hold");
  for (const Entry& e : entries_)
    if (const Worst worst = worst_of(e.gradient); worst != Worst::finite)
      refuse(op, ": the gradient of node ", e.index, " is ", str(worst), "; need finite numbers");
}

double Gradients::clip_norm(double most) {
  check_clip("clip_norm", most);
  const double before = norm();
  if (!(before > most)) return before;
  // Of numbers that are finite; the norm itself may not be.
  double size = before;
  if (std::isinf(size)) {
    *this *= 0x1p-512;
    size = norm();
  }
  for (Entry& e : entries_)  // in this order, since most / size may vanish
    for (Scalar& x : e.gradient) x = static_cast<Scalar>(static_cast<double>(x) / size * most);
  return before;
}

void Gradients::clip_values(double most) {
  check_clip("clip_values", most);
  const auto bound = static_cast<Scalar>(most);
  for (Entry& e : entries_)
    for (Scalar& x : e.gradient) x = std::clamp(x, -bound, bound);
}

std::ostream& operator<<(std::ostream& out, const Gradients& gradients) {
  for (const auto& e : gradients.entries()) out << e.name << ' ' << e.gradient << '\n';
  return out;
}

ARGTAPE_END
