package compare

// Spearman is tested by its values.
var Spearman = spearman
