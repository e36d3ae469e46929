"""The engine that lets a vLLM server of its own compute, through its OpenAI API."""
