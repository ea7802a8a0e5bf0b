package encoder

import "math"

// Softmax returns the probability of each label for one image, as CLIP's model card computes it:
// softmax(logitScale · image·labelᵀ). image and labels are unit-length embeddings; the probabilities sum to 1.
// Source: openai/CLIP model.py, forward: logit_scale.exp() * image_features @ text_features.t().
func Softmax(logitScale float64, image []float32, labels [][]float32) []float64 {
	p := make([]float64, len(labels))
	top := math.Inf(-1)
	for i, label := range labels {
		var dot float64
		for j, v := range label {
			dot += float64(v) * float64(image[j])
		}
		p[i] = logitScale * dot
		top = max(top, p[i])
	}
	var sum float64
	for i := range p {
		p[i] = math.Exp(p[i] - top) // the largest exponent is 0: no overflow
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}
