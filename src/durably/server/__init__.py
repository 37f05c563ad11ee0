"""The API of AWS Lambda's durable functions over HTTP, as an ASGI application."""
