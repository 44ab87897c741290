// Which costs each node feeds, and from which of them a gradient came back to it. They are sets,
// not sums along edges: a cost that is reached in two ways counts once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "scalar.hpp"

ARGTAPE_PRIVATE_BEGIN

class CostSets {
 public:
  CostSets(std::size_t nodes, std::size_t costs)
      : words_((costs + 63) / 64), feeds_(nodes * words_, 0), paths_(feeds_) {}

  /// Node i is the cost; a gradient sets out from it if `differentiable`.
  void start(std::uint32_t i, std::size_t cost, bool differentiable) {
    const std::uint64_t bit = std::uint64_t{1} << (cost % 64);
    feeds_[i * words_ + cost / 64] |= bit;
    if (differentiable) paths_[i * words_ + cost / 64] |= bit;
  }
  bool feeds_any(std::uint32_t i) const {
    const auto set = feeds_.begin() + place(i);
    return std::any_of(set, set + place(1), [](std::uint64_t w) { return w != 0; });
  }
  bool feeds(std::uint32_t i, std::size_t cost) const {
    return feeds_[i * words_ + cost / 64] >> (cost % 64) & 1;
  }
  /// Whether a gradient came back from each cost that node i feeds.
  bool has_all_paths(std::uint32_t i) const {
    const auto set = feeds_.begin() + place(i);
    return std::equal(set, set + place(1), paths_.begin() + place(i));
  }
  /// What node i feeds, its input feeds too.
  void hand_on_feeds(std::uint32_t i, std::uint32_t input) { unite(feeds_, i, feeds_, input); }
  /// The input has a gradient of the costs that node i's came from: of all that i feeds, where its
  /// backward makes one from the costs themselves.
  void hand_on_paths(std::uint32_t i, std::uint32_t input, bool from_costs) {
    unite(from_costs ? feeds_ : paths_, i, paths_, input);
  }

 private:
  using Words = std::vector<std::uint64_t>;  // for each node words_, a bit a cost
  std::ptrdiff_t place(std::uint32_t i) const { return static_cast<std::ptrdiff_t>(i * words_); }
  void unite(const Words& from, std::uint32_t i, Words& to, std::uint32_t j) const {
    for (std::size_t w = 0; w < words_; ++w) to[j * words_ + w] |= from[i * words_ + w];
  }
  std::size_t words_;
  Words feeds_, paths_;
};

ARGTAPE_END
