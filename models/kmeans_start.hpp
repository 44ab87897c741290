// Where k-means begins.
#pragma once

#include <string>

#include "../engine/random.hpp"
#include "../engine/tensor.hpp"

ARGTAPE_PUBLIC_BEGIN

/// Starting centres (clusters, dim): "points", distinct ones drawn at random (Forgy's start);
/// "k-means++", the
/// first drawn at random, each further one with probability proportional to the squared distance
/// from those before it (D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful
/// seeding", SODA 2007); "cube", uniform in the smallest box that holds the points. Of `tries` such
/// draws the one with the lowest loss. Throws std::invalid_argument for another name, for fewer
/// distinct points than clusters, and for points that kmeans_lloyd() refuses.
Tensor kmeans_start(const std::string& how, const Tensor& points, std::size_t clusters, Rng& rng,
                    std::size_t tries = 1);

ARGTAPE_END
