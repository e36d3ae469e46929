# syntax=docker/dockerfile:1
# Label Studio in its own image, installed by the same script as `make label-studio`.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PATH=/opt/label-studio/bin:$PATH \
    LABEL_STUDIO_BASE_DATA_DIR=/data \
    LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN=true \
    LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK=true \
    COLLECT_ANALYTICS=false LATEST_VERSION_CHECK=false SENTRY_DSN= FRONTEND_SENTRY_DSN=

WORKDIR /app
COPY scripts/label_studio.sh ./
RUN PYTHON=python3 sh label_studio.sh /opt/label-studio

RUN useradd --uid 10002 --create-home labelstudio && install --directory --owner labelstudio --mode 0700 /data
USER labelstudio
VOLUME /data
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8081/health', timeout=4)"]
CMD ["label-studio", "start", "--no-browser", "--internal-host", "0.0.0.0", "--port", "8081"]
