"""From a trained .keras model to the formats that devices run."""
