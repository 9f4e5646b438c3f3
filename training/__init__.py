"""Makes the models that `assistant` uses: data, training, export. `assistant` never imports this."""
