// The nodes that rules stand behind, for tests that hold for each rule behind each of them.
#pragma once

#include "ops/choice.hpp"
#include "ops/matching.hpp"
#include "ops/rules/names.hpp"
#include "ops/top_k.hpp"

using namespace argtape;

namespace {

struct DecisionNode {
  const std::vector<std::string>& (*names)();
  Rule (*named)(const std::string& name, Temperature tau);
  Var (*best)(Var logits, const Rule& rule);
  Var (*drawn)(Var logits, const Rule& rule, Var noise);
};
// A choice, a subset of two, and a matching. For matrices (..., n, n) there is each.
const DecisionNode kDecisionNodes[] = {
    {rule_names, rule_named, [](Var l, const Rule& r) { return argmax(l, r); },
     [](Var l, const Rule& r, Var g) { return sample(l, r, g); }},
    {top_k_rule_names, top_k_rule_named, [](Var l, const Rule& r) { return top_k(l, 2, r); },
     [](Var l, const Rule& r, Var g) { return sample_top_k(l, 2, r, g); }},
    {matching_rule_names,
     [](const std::string& name, Temperature tau) {
       return matching_rule_named(name, tau, std::size_t{7});
     },
     [](Var l, const Rule& r) { return matching(l, r); },
     [](Var l, const Rule& r, Var g) { return sample_matching(l, r, g); }}};

}  // namespace
