"""Durable queue between LLM callers with their OpenAI clients, on one side, the machines that run the models on the other."""
