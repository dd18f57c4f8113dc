"""The cluster room: vectors of prompts and answers, and their clusters. It fills embeddings, clusters and cluster_stats."""
