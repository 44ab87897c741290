#include "ops/kernels/windows.hpp"

#include <type_traits>

ARGTAPE_PRIVATE_BEGIN
namespace {

// f(stride), the usual ones as constants.
template <class F>
void with_stride(std::size_t stride, F f) {
  if (stride == 1)
    f(std::integral_constant<std::size_t, 1>());
  else if (stride == 2)
    f(std::integral_constant<std::size_t, 2>());
  else
    f(stride);
}

}  // namespace

Windows::Windows(const ConvGeometry& s, std::size_t row_parts, double padding)
    : planes_(s.c), stride_(s.stride_w), pixels_(s.h * s.w) {
  const std::size_t rows = (s.padded_height() - 1) / row_parts + 1,
                    columns = (s.padded_width() - 1) / s.stride_w + 1;
  pitch = s.stride_h / row_parts * columns;
  plane_ = row_parts * s.stride_w * rows * columns;
  numbers_ = full({planes_ * plane_ + kLane}, padding);
  // Where a pixel stands in its plane, counted from the padding's corner.
  const auto place = [&](std::size_t i, std::size_t j) {
    const std::size_t part = i % row_parts * s.stride_w + j % s.stride_w;
    return (part * rows + i / row_parts) * columns + j / s.stride_w;
  };
  for (std::size_t plane = 0; plane < planes_; ++plane)
    for (std::size_t i = 0; i < s.kernel_h; ++i)
      for (std::size_t j = 0; j < s.kernel_w; ++j) places.push_back(plane * plane_ + place(i, j));
  for (std::size_t j = 0; j < std::min(s.stride_w, s.w); ++j)
    for (std::size_t i = 0; i < s.h; ++i) {
      const Run next{i * s.w + j, place(i + s.pad_h, j + s.pad_w), (s.w - j - 1) / s.stride_w + 1};
      Run* last = runs_.empty() ? nullptr : &runs_.back();
      if (last && next.pixel == last->pixel + last->length * s.stride_w &&
          next.place == last->place + last->length)
        last->length += next.length;
      else
        runs_.push_back(next);
    }
}

void Windows::read(const Scalar* image) {
  with_stride(stride_, [&, to = data()](auto stride) mutable {
    for (std::size_t plane = 0; plane < planes_; ++plane, image += pixels_, to += plane_)
      for (const Run& r : runs_)
        if (stride == 1)
          copy_row(r.length, image + r.pixel, to + r.place);
        else
          for (std::size_t k = 0; k < r.length; ++k) to[r.place + k] = image[r.pixel + k * stride];
  });
}

void Windows::write(Scalar* image) const {
  const Scalar* from = numbers_.data();
  for (std::size_t plane = 0; plane < planes_; ++plane, image += pixels_, from += plane_)
    for (const Run& r : runs_)
      if (stride_ == 1)
        copy_row(r.length, from + r.place, image + r.pixel);
      else
        for (std::size_t k = 0; k < r.length; ++k) image[r.pixel + k * stride_] = from[r.place + k];
}

void Windows::clear() { std::fill(numbers_.begin(), numbers_.end(), Scalar{0}); }

ARGTAPE_END
